module {
  aie.device(npu1) {
    func.func private @zero_f32(memref<96x48xf32>) attributes {link_with = "matmul_96x64x48.o"}
    func.func private @matmul_bf16_f32(memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) attributes {link_with = "matmul_96x64x48.o"}

    // Tiles
    %t0_0 = aie.tile(0, 0)
    %t1_0 = aie.tile(1, 0)
    %t2_0 = aie.tile(2, 0)
    %t3_0 = aie.tile(3, 0)
    %t0_1 = aie.tile(0, 1)
    %t1_1 = aie.tile(1, 1)
    %t2_1 = aie.tile(2, 1)
    %t3_1 = aie.tile(3, 1)
    %t0_2 = aie.tile(0, 2)
    %t1_2 = aie.tile(1, 2)
    %t2_2 = aie.tile(2, 2)
    %t3_2 = aie.tile(3, 2)
    %t0_3 = aie.tile(0, 3)
    %t1_3 = aie.tile(1, 3)
    %t2_3 = aie.tile(2, 3)
    %t3_3 = aie.tile(3, 3)
    %t0_4 = aie.tile(0, 4)
    %t1_4 = aie.tile(1, 4)
    %t2_4 = aie.tile(2, 4)
    %t3_4 = aie.tile(3, 4)
    %t0_5 = aie.tile(0, 5)
    %t1_5 = aie.tile(1, 5)
    %t2_5 = aie.tile(2, 5)
    %t3_5 = aie.tile(3, 5)
    %steps_0_0 = aie.buffer(%t0_2) {sym_name = "steps_0_0"} : memref<1xi32>
    %steps_0_1 = aie.buffer(%t0_3) {sym_name = "steps_0_1"} : memref<1xi32>
    %steps_0_2 = aie.buffer(%t0_4) {sym_name = "steps_0_2"} : memref<1xi32>
    %steps_0_3 = aie.buffer(%t0_5) {sym_name = "steps_0_3"} : memref<1xi32>
    %steps_1_0 = aie.buffer(%t1_2) {sym_name = "steps_1_0"} : memref<1xi32>
    %steps_1_1 = aie.buffer(%t1_3) {sym_name = "steps_1_1"} : memref<1xi32>
    %steps_1_2 = aie.buffer(%t1_4) {sym_name = "steps_1_2"} : memref<1xi32>
    %steps_1_3 = aie.buffer(%t1_5) {sym_name = "steps_1_3"} : memref<1xi32>
    %steps_2_0 = aie.buffer(%t2_2) {sym_name = "steps_2_0"} : memref<1xi32>
    %steps_2_1 = aie.buffer(%t2_3) {sym_name = "steps_2_1"} : memref<1xi32>
    %steps_2_2 = aie.buffer(%t2_4) {sym_name = "steps_2_2"} : memref<1xi32>
    %steps_2_3 = aie.buffer(%t2_5) {sym_name = "steps_2_3"} : memref<1xi32>
    %steps_3_0 = aie.buffer(%t3_2) {sym_name = "steps_3_0"} : memref<1xi32>
    %steps_3_1 = aie.buffer(%t3_3) {sym_name = "steps_3_1"} : memref<1xi32>
    %steps_3_2 = aie.buffer(%t3_4) {sym_name = "steps_3_2"} : memref<1xi32>
    %steps_3_3 = aie.buffer(%t3_5) {sym_name = "steps_3_3"} : memref<1xi32>

    // Data movement in the array
    aie.objectfifo @A_L3L2_0(%t0_0, {%t0_1}, 2 : i32) : !aie.objectfifo<memref<6144xbf16>>
    aie.objectfifo @A_L2L1_0(%t0_1 dimensionsToStream [<size = 24, stride = 256>, <size = 8, stride = 8>, <size = 4, stride = 64>, <size = 8, stride = 1>], {%t0_2, %t1_2, %t2_2, %t3_2}, 2 : i32) : !aie.objectfifo<memref<96x64xbf16>>
    aie.objectfifo.link [@A_L3L2_0] -> [@A_L2L1_0]([] [])
    aie.objectfifo @B_L3L2_0(%t0_0, {%t0_1}, 2 : i32) : !aie.objectfifo<memref<3072xbf16>>
    aie.objectfifo @B_L2L1_0(%t0_1 dimensionsToStream [<size = 8, stride = 384>, <size = 12, stride = 4>, <size = 8, stride = 48>, <size = 4, stride = 1>], {%t0_2, %t0_3, %t0_4, %t0_5}, 2 : i32) : !aie.objectfifo<memref<64x48xbf16>>
    aie.objectfifo.link [@B_L3L2_0] -> [@B_L2L1_0]([] [])
    aie.objectfifo @C_L1L2_0_0(%t0_2, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_0_1(%t0_3, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_0_2(%t0_4, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_0_3(%t0_5, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L2L3_0(%t0_1 dimensionsToStream [<size = 24, stride = 192>, <size = 4, stride = 4>, <size = 12, stride = 16>, <size = 4, stride = 1>], {%t0_0}, 1 : i32) : !aie.objectfifo<memref<18432xf32>>
    aie.objectfifo.link [@C_L1L2_0_0, @C_L1L2_0_1, @C_L1L2_0_2, @C_L1L2_0_3] -> [@C_L2L3_0]([0, 4608, 9216, 13824] [])
    aie.objectfifo @A_L3L2_1(%t1_0, {%t1_1}, 2 : i32) : !aie.objectfifo<memref<6144xbf16>>
    aie.objectfifo @A_L2L1_1(%t1_1 dimensionsToStream [<size = 24, stride = 256>, <size = 8, stride = 8>, <size = 4, stride = 64>, <size = 8, stride = 1>], {%t0_3, %t1_3, %t2_3, %t3_3}, 2 : i32) : !aie.objectfifo<memref<96x64xbf16>>
    aie.objectfifo.link [@A_L3L2_1] -> [@A_L2L1_1]([] [])
    aie.objectfifo @B_L3L2_1(%t1_0, {%t1_1}, 2 : i32) : !aie.objectfifo<memref<3072xbf16>>
    aie.objectfifo @B_L2L1_1(%t1_1 dimensionsToStream [<size = 8, stride = 384>, <size = 12, stride = 4>, <size = 8, stride = 48>, <size = 4, stride = 1>], {%t1_2, %t1_3, %t1_4, %t1_5}, 2 : i32) : !aie.objectfifo<memref<64x48xbf16>>
    aie.objectfifo.link [@B_L3L2_1] -> [@B_L2L1_1]([] [])
    aie.objectfifo @C_L1L2_1_0(%t1_2, {%t1_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_1_1(%t1_3, {%t1_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_1_2(%t1_4, {%t1_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_1_3(%t1_5, {%t1_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L2L3_1(%t1_1 dimensionsToStream [<size = 24, stride = 192>, <size = 4, stride = 4>, <size = 12, stride = 16>, <size = 4, stride = 1>], {%t1_0}, 1 : i32) : !aie.objectfifo<memref<18432xf32>>
    aie.objectfifo.link [@C_L1L2_1_0, @C_L1L2_1_1, @C_L1L2_1_2, @C_L1L2_1_3] -> [@C_L2L3_1]([0, 4608, 9216, 13824] [])
    aie.objectfifo @A_L3L2_2(%t2_0, {%t2_1}, 2 : i32) : !aie.objectfifo<memref<6144xbf16>>
    aie.objectfifo @A_L2L1_2(%t2_1 dimensionsToStream [<size = 24, stride = 256>, <size = 8, stride = 8>, <size = 4, stride = 64>, <size = 8, stride = 1>], {%t0_4, %t1_4, %t2_4, %t3_4}, 2 : i32) : !aie.objectfifo<memref<96x64xbf16>>
    aie.objectfifo.link [@A_L3L2_2] -> [@A_L2L1_2]([] [])
    aie.objectfifo @B_L3L2_2(%t2_0, {%t2_1}, 2 : i32) : !aie.objectfifo<memref<3072xbf16>>
    aie.objectfifo @B_L2L1_2(%t2_1 dimensionsToStream [<size = 8, stride = 384>, <size = 12, stride = 4>, <size = 8, stride = 48>, <size = 4, stride = 1>], {%t2_2, %t2_3, %t2_4, %t2_5}, 2 : i32) : !aie.objectfifo<memref<64x48xbf16>>
    aie.objectfifo.link [@B_L3L2_2] -> [@B_L2L1_2]([] [])
    aie.objectfifo @C_L1L2_2_0(%t2_2, {%t2_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_2_1(%t2_3, {%t2_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_2_2(%t2_4, {%t2_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_2_3(%t2_5, {%t2_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L2L3_2(%t2_1 dimensionsToStream [<size = 24, stride = 192>, <size = 4, stride = 4>, <size = 12, stride = 16>, <size = 4, stride = 1>], {%t2_0}, 1 : i32) : !aie.objectfifo<memref<18432xf32>>
    aie.objectfifo.link [@C_L1L2_2_0, @C_L1L2_2_1, @C_L1L2_2_2, @C_L1L2_2_3] -> [@C_L2L3_2]([0, 4608, 9216, 13824] [])
    aie.objectfifo @A_L3L2_3(%t3_0, {%t3_1}, 2 : i32) : !aie.objectfifo<memref<6144xbf16>>
    aie.objectfifo @A_L2L1_3(%t3_1 dimensionsToStream [<size = 24, stride = 256>, <size = 8, stride = 8>, <size = 4, stride = 64>, <size = 8, stride = 1>], {%t0_5, %t1_5, %t2_5, %t3_5}, 2 : i32) : !aie.objectfifo<memref<96x64xbf16>>
    aie.objectfifo.link [@A_L3L2_3] -> [@A_L2L1_3]([] [])
    aie.objectfifo @B_L3L2_3(%t3_0, {%t3_1}, 2 : i32) : !aie.objectfifo<memref<3072xbf16>>
    aie.objectfifo @B_L2L1_3(%t3_1 dimensionsToStream [<size = 8, stride = 384>, <size = 12, stride = 4>, <size = 8, stride = 48>, <size = 4, stride = 1>], {%t3_2, %t3_3, %t3_4, %t3_5}, 2 : i32) : !aie.objectfifo<memref<64x48xbf16>>
    aie.objectfifo.link [@B_L3L2_3] -> [@B_L2L1_3]([] [])
    aie.objectfifo @C_L1L2_3_0(%t3_2, {%t3_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_3_1(%t3_3, {%t3_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_3_2(%t3_4, {%t3_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L1L2_3_3(%t3_5, {%t3_1}, 1 : i32) : !aie.objectfifo<memref<96x48xf32>>
    aie.objectfifo @C_L2L3_3(%t3_1 dimensionsToStream [<size = 24, stride = 192>, <size = 4, stride = 4>, <size = 12, stride = 16>, <size = 4, stride = 1>], {%t3_0}, 1 : i32) : !aie.objectfifo<memref<18432xf32>>
    aie.objectfifo.link [@C_L1L2_3_0, @C_L1L2_3_1, @C_L1L2_3_2, @C_L1L2_3_3] -> [@C_L2L3_3]([0, 4608, 9216, 13824] [])

    // Core task
    %core_0_2 = aie.core(%t0_2) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_0_0(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_0_0[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_0(Consume, 1)
        aie.objectfifo.release @B_L2L1_0(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_0(Consume, 1)
          aie.objectfifo.release @B_L2L1_0(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_0_0(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_0_3 = aie.core(%t0_3) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_0_1(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_0_1[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_1(Consume, 1)
        aie.objectfifo.release @B_L2L1_0(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_1(Consume, 1)
          aie.objectfifo.release @B_L2L1_0(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_0_1(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_0_4 = aie.core(%t0_4) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_0_2(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_0_2[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_2(Consume, 1)
        aie.objectfifo.release @B_L2L1_0(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_2(Consume, 1)
          aie.objectfifo.release @B_L2L1_0(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_0_2(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_0_5 = aie.core(%t0_5) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_0_3(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_0_3[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_3(Consume, 1)
        aie.objectfifo.release @B_L2L1_0(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_3(Consume, 1)
          aie.objectfifo.release @B_L2L1_0(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_0_3(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_1_2 = aie.core(%t1_2) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_1_0(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_1_0[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_0(Consume, 1)
        aie.objectfifo.release @B_L2L1_1(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_0(Consume, 1)
          aie.objectfifo.release @B_L2L1_1(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_1_0(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_1_3 = aie.core(%t1_3) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_1_1(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_1_1[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_1(Consume, 1)
        aie.objectfifo.release @B_L2L1_1(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_1(Consume, 1)
          aie.objectfifo.release @B_L2L1_1(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_1_1(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_1_4 = aie.core(%t1_4) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_1_2(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_1_2[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_2(Consume, 1)
        aie.objectfifo.release @B_L2L1_1(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_2(Consume, 1)
          aie.objectfifo.release @B_L2L1_1(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_1_2(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_1_5 = aie.core(%t1_5) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_1_3(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_1_3[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_3(Consume, 1)
        aie.objectfifo.release @B_L2L1_1(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_3(Consume, 1)
          aie.objectfifo.release @B_L2L1_1(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_1_3(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_2_2 = aie.core(%t2_2) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_2_0(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_2_0[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_0(Consume, 1)
        aie.objectfifo.release @B_L2L1_2(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_0(Consume, 1)
          aie.objectfifo.release @B_L2L1_2(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_2_0(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_2_3 = aie.core(%t2_3) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_2_1(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_2_1[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_1(Consume, 1)
        aie.objectfifo.release @B_L2L1_2(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_1(Consume, 1)
          aie.objectfifo.release @B_L2L1_2(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_2_1(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_2_4 = aie.core(%t2_4) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_2_2(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_2_2[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_2(Consume, 1)
        aie.objectfifo.release @B_L2L1_2(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_2(Consume, 1)
          aie.objectfifo.release @B_L2L1_2(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_2_2(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_2_5 = aie.core(%t2_5) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_2_3(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_2_3[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_3(Consume, 1)
        aie.objectfifo.release @B_L2L1_2(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_3(Consume, 1)
          aie.objectfifo.release @B_L2L1_2(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_2_3(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_3_2 = aie.core(%t3_2) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_3_0(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_3_0[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_0(Consume, 1)
        aie.objectfifo.release @B_L2L1_3(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_0(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_0(Consume, 1)
          aie.objectfifo.release @B_L2L1_3(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_3_0(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_3_3 = aie.core(%t3_3) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_3_1(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_3_1[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_1(Consume, 1)
        aie.objectfifo.release @B_L2L1_3(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_1(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_1(Consume, 1)
          aie.objectfifo.release @B_L2L1_3(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_3_1(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_3_4 = aie.core(%t3_4) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_3_2(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_3_2[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_2(Consume, 1)
        aie.objectfifo.release @B_L2L1_3(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_2(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_2(Consume, 1)
          aie.objectfifo.release @B_L2L1_3(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_3_2(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}
    %core_3_5 = aie.core(%t3_5) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2_3_3(Produce, 1) : !aie.objectfifosubview<memref<96x48xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>
        func.call @zero_f32(%tile0) : (memref<96x48xf32>) -> ()
        %view1 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
        %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
        %view2 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
        %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
        %steps_i32 = memref.load %steps_3_3[%c0] : memref<1xi32>
        %steps = arith.index_cast %steps_i32 : i32 to index
        func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
        aie.objectfifo.release @A_L2L1_3(Consume, 1)
        aie.objectfifo.release @B_L2L1_3(Consume, 1)
        scf.for %kk = %c1 to %steps step %c1 {
          %view3 = aie.objectfifo.acquire @A_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<96x64xbf16>>
          %tile3 = aie.objectfifo.subview.access %view3[0] : !aie.objectfifosubview<memref<96x64xbf16>> -> memref<96x64xbf16>
          %view4 = aie.objectfifo.acquire @B_L2L1_3(Consume, 1) : !aie.objectfifosubview<memref<64x48xbf16>>
          %tile4 = aie.objectfifo.subview.access %view4[0] : !aie.objectfifosubview<memref<64x48xbf16>> -> memref<64x48xbf16>
          func.call @matmul_bf16_f32(%tile3, %tile4, %tile0) : (memref<96x64xbf16>, memref<64x48xbf16>, memref<96x48xf32>) -> ()
          aie.objectfifo.release @A_L2L1_3(Consume, 1)
          aie.objectfifo.release @B_L2L1_3(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2_3_3(Produce, 1)
      }
      aie.end
    } {dynamic_objfifo_lowering = true, stack_size = 3328 : i32}

    // DRAM movement
    aie.runtime_sequence @sequence(%A: memref<786432xbf16>, %B: memref<786432xbf16>, %C: memref<18874368xf32>) {
      aiex.npu.rtp_write(@steps_0_0, 0, 1)
      aiex.npu.rtp_write(@steps_0_1, 0, 1)
      aiex.npu.rtp_write(@steps_0_2, 0, 1)
      aiex.npu.rtp_write(@steps_0_3, 0, 1)
      aiex.npu.rtp_write(@steps_1_0, 0, 1)
      aiex.npu.rtp_write(@steps_1_1, 0, 1)
      aiex.npu.rtp_write(@steps_1_2, 0, 1)
      aiex.npu.rtp_write(@steps_1_3, 0, 1)
      aiex.npu.rtp_write(@steps_2_0, 0, 1)
      aiex.npu.rtp_write(@steps_2_1, 0, 1)
      aiex.npu.rtp_write(@steps_2_2, 0, 1)
      aiex.npu.rtp_write(@steps_2_3, 0, 1)
      aiex.npu.rtp_write(@steps_3_0, 0, 1)
      aiex.npu.rtp_write(@steps_3_1, 0, 1)
      aiex.npu.rtp_write(@steps_3_2, 0, 1)
      aiex.npu.rtp_write(@steps_3_3, 0, 1)
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 0][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 48][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49152][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 48][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 96][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98304][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 96][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 144][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147456][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 144][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 589824][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196608][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 589872][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 245760][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 48][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 589920][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 294912][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 96][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 589968][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344064][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 144][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1179648][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393216][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1179696][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442368][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 48][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1179744][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491520][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 96][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1179792][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540672][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 144][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1769472][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 589824][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1769520][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 638976][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 48][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1769568][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688128][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 96][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1769616][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737280][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 144][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2359296][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 64][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98304][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2359344][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49216][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98352][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2359392][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98368][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98400][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2359440][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147520][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98448][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2949120][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196672][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98304][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2949168][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 245824][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98352][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2949216][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 294976][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98400][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 2949264][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344128][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98448][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 3538944][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393280][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98304][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 3538992][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442432][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98352][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 3539040][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491584][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98400][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 3539088][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540736][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98448][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4128768][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 589888][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98304][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4128816][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639040][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98352][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4128864][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688192][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98400][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4128912][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737344][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 98448][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4718592][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 128][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196608][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4718640][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49280][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196656][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4718688][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98432][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196704][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 4718736][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147584][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196752][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5308416][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196736][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196608][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5308464][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 245888][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196656][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5308512][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295040][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196704][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5308560][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344192][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196752][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5898240][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393344][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196608][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5898288][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442496][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196656][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5898336][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491648][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196704][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 5898384][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540800][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196752][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 6488064][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 589952][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196608][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 6488112][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639104][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196656][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 6488160][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688256][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196704][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 6488208][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737408][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 196752][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7077888][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 192][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294912][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7077936][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49344][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294960][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7077984][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98496][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295008][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7078032][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147648][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295056][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7667712][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196800][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294912][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7667760][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 245952][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294960][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7667808][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295104][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295008][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 7667856][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344256][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295056][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8257536][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393408][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294912][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8257584][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442560][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294960][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8257632][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491712][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295008][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8257680][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540864][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295056][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8847360][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 590016][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294912][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8847408][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639168][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 294960][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8847456][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688320][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295008][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 8847504][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737472][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 295056][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 9437184][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 256][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393216][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 9437232][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49408][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393264][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 9437280][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98560][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393312][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 9437328][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147712][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393360][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10027008][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196864][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393216][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10027056][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 246016][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393264][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10027104][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295168][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393312][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10027152][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344320][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393360][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10616832][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393472][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393216][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10616880][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442624][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393264][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10616928][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491776][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393312][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 10616976][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540928][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393360][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11206656][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 590080][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393216][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11206704][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639232][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393264][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11206752][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688384][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393312][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11206800][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737536][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 393360][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11796480][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 320][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491520][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11796528][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49472][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491568][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11796576][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98624][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491616][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 11796624][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147776][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491664][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12386304][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196928][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491520][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12386352][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 246080][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491568][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12386400][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295232][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491616][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12386448][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344384][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491664][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12976128][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393536][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491520][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12976176][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442688][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491568][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12976224][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491840][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491616][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 12976272][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 540992][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491664][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 13565952][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 590144][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491520][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 13566000][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639296][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491568][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 13566048][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688448][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491616][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 13566096][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737600][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 491664][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14155776][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 384][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589824][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14155824][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49536][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589872][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14155872][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98688][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589920][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14155920][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147840][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589968][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14745600][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 196992][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589824][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14745648][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 246144][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589872][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14745696][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295296][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589920][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 14745744][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344448][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589968][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15335424][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393600][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589824][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15335472][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442752][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589872][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15335520][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491904][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589920][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15335568][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 541056][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589968][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15925248][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 590208][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589824][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15925296][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639360][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589872][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15925344][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688512][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589920][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 15925392][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737664][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 589968][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 16515072][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 448][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688128][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 16515120][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 49600][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688176][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 16515168][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 98752][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688224][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 16515216][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147904][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688272][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17104896][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 197056][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688128][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17104944][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 246208][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688176][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17104992][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 295360][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688224][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17105040][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 344512][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688272][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17694720][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 393664][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688128][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17694768][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442816][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688176][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17694816][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 491968][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688224][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 17694864][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 541120][8, 1, 96, 64][0, 64, 512, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688272][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 18284544][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 590272][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688128][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 18284592][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 639424][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688176][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 18284640][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 688576][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688224][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 18284688][8, 4, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<18874368xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 737728][8, 1, 96, 64][0, 64, 512, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 688272][8, 1, 64, 48][192, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<786432xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
    }
  }
}
