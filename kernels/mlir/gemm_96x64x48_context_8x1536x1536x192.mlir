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
    aie.runtime_sequence @sequence(%A: memref<18874368xbf16>, %B: memref<2359296xbf16>, %C: memref<2359296xf32>) {
      aiex.npu.rtp_write(@steps_0_0, 0, 24)
      aiex.npu.rtp_write(@steps_0_1, 0, 24)
      aiex.npu.rtp_write(@steps_0_2, 0, 24)
      aiex.npu.rtp_write(@steps_0_3, 0, 24)
      aiex.npu.rtp_write(@steps_1_0, 0, 24)
      aiex.npu.rtp_write(@steps_1_1, 0, 24)
      aiex.npu.rtp_write(@steps_1_2, 0, 24)
      aiex.npu.rtp_write(@steps_1_3, 0, 24)
      aiex.npu.rtp_write(@steps_2_0, 0, 24)
      aiex.npu.rtp_write(@steps_2_1, 0, 24)
      aiex.npu.rtp_write(@steps_2_2, 0, 24)
      aiex.npu.rtp_write(@steps_2_3, 0, 24)
      aiex.npu.rtp_write(@steps_3_0, 0, 24)
      aiex.npu.rtp_write(@steps_3_1, 0, 24)
      aiex.npu.rtp_write(@steps_3_2, 0, 24)
      aiex.npu.rtp_write(@steps_3_3, 0, 24)
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 0][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 48][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 147456][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 48][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 96][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 294912][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 96][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 144][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 442368][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 144][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 192][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 2359296][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 192][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 240][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 2506752][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 240][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 288][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 2654208][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 288][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 336][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 2801664][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 336][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 384][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 4718592][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 384][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 432][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 4866048][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 432][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 480][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 5013504][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 480][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 528][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 5160960][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 528][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 576][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 7077888][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 576][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 624][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 7225344][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 624][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 672][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 7372800][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 672][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 720][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 7520256][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 720][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 768][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 9437184][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 768][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 816][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 9584640][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 816][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 864][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 9732096][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 864][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 912][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 9879552][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 912][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 960][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 11796480][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 960][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1008][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 11943936][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1008][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1056][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 12091392][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1056][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1104][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 12238848][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1104][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1152][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 14155776][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1152][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1200][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 14303232][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1200][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1248][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 14450688][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1248][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1296][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 0 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 14598144][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 1 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1296][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 2 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3_0}
      aiex.npu.dma_wait {symbol = @C_L2L3_1}
      aiex.npu.dma_wait {symbol = @C_L2L3_2}
      aiex.npu.dma_wait {symbol = @C_L2L3_3}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1344][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_0, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 16515072][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_0} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1344][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_0} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1392][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_1, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 16662528][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_1} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1392][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_1} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1440][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_2, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 16809984][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_2} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1440][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_2} : memref<2359296xbf16>
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 1488][1, 16, 96, 48][192, 147456, 1536, 1]) {id = 8 : i64, metadata = @C_L2L3_3, issue_token = true} : memref<2359296xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 16957440][4, 24, 96, 64][589824, 64, 1536, 1]) {id = 9 : i64, metadata = @A_L3L2_3} : memref<18874368xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 1488][4, 24, 64, 48][0, 98304, 1536, 1]) {id = 10 : i64, metadata = @B_L3L2_3} : memref<2359296xbf16>
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
