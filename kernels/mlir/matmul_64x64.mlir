module {
  aie.device(npu1_1col) {
    func.func private @zero_f32(memref<64x64xf32>) attributes {link_with = "matmul_64x64x64.o"}
    func.func private @matmul_bf16_f32(memref<64x64xbf16>, memref<64x64xbf16>, memref<64x64xf32>) attributes {link_with = "matmul_64x64x64.o"}

    // Tiles
    %t0_0 = aie.tile(0, 0)
    %t0_1 = aie.tile(0, 1)
    %t0_2 = aie.tile(0, 2)

    // Data movement in the array
    aie.objectfifo @A_L3L2(%t0_0, {%t0_1}, 2 : i32) : !aie.objectfifo<memref<4096xbf16>>
    aie.objectfifo @A_L2L1(%t0_1 dimensionsToStream [<size = 16, stride = 256>, <size = 8, stride = 8>, <size = 4, stride = 64>, <size = 8, stride = 1>], {%t0_2}, 2 : i32) : !aie.objectfifo<memref<64x64xbf16>>
    aie.objectfifo.link [@A_L3L2] -> [@A_L2L1]([] [])
    aie.objectfifo @B_L3L2(%t0_0, {%t0_1}, 2 : i32) : !aie.objectfifo<memref<4096xbf16>>
    aie.objectfifo @B_L2L1(%t0_1 dimensionsToStream [<size = 8, stride = 512>, <size = 16, stride = 4>, <size = 8, stride = 64>, <size = 4, stride = 1>], {%t0_2}, 2 : i32) : !aie.objectfifo<memref<64x64xbf16>>
    aie.objectfifo.link [@B_L3L2] -> [@B_L2L1]([] [])
    aie.objectfifo @C_L1L2(%t0_2, {%t0_1}, 1 : i32) : !aie.objectfifo<memref<64x64xf32>>
    aie.objectfifo @C_L2L3(%t0_1 dimensionsToStream [<size = 16, stride = 256>, <size = 4, stride = 4>, <size = 16, stride = 16>, <size = 4, stride = 1>], {%t0_0}, 1 : i32) : !aie.objectfifo<memref<4096xf32>>
    aie.objectfifo.link [@C_L1L2] -> [@C_L2L3]([] [])

    // Core task
    %core_0_2 = aie.core(%t0_2) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      %steps = arith.constant 1 : index
      scf.for %round = %c0 to %forever step %c1 {
        %view0 = aie.objectfifo.acquire @C_L1L2(Produce, 1) : !aie.objectfifosubview<memref<64x64xf32>>
        %tile0 = aie.objectfifo.subview.access %view0[0] : !aie.objectfifosubview<memref<64x64xf32>> -> memref<64x64xf32>
        func.call @zero_f32(%tile0) : (memref<64x64xf32>) -> ()
        scf.for %kk = %c0 to %steps step %c1 {
          %view1 = aie.objectfifo.acquire @A_L2L1(Consume, 1) : !aie.objectfifosubview<memref<64x64xbf16>>
          %tile1 = aie.objectfifo.subview.access %view1[0] : !aie.objectfifosubview<memref<64x64xbf16>> -> memref<64x64xbf16>
          %view2 = aie.objectfifo.acquire @B_L2L1(Consume, 1) : !aie.objectfifosubview<memref<64x64xbf16>>
          %tile2 = aie.objectfifo.subview.access %view2[0] : !aie.objectfifosubview<memref<64x64xbf16>> -> memref<64x64xbf16>
          func.call @matmul_bf16_f32(%tile1, %tile2, %tile0) : (memref<64x64xbf16>, memref<64x64xbf16>, memref<64x64xf32>) -> ()
          aie.objectfifo.release @A_L2L1(Consume, 1)
          aie.objectfifo.release @B_L2L1(Consume, 1)
        }
        aie.objectfifo.release @C_L1L2(Produce, 1)
      }
      aie.end
    } {stack_size = 3328 : i32}

    // DRAM movement
    aie.runtime_sequence @sequence(%A: memref<4096xbf16>, %B: memref<4096xbf16>, %C: memref<4096xf32>) {
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 0][1, 1, 64, 64][0, 4096, 64, 1]) {id = 2 : i64, metadata = @C_L2L3, issue_token = true} : memref<4096xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][1, 1, 64, 64][0, 4096, 64, 1]) {id = 0 : i64, metadata = @A_L3L2} : memref<4096xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][1, 1, 64, 64][0, 4096, 64, 1]) {id = 1 : i64, metadata = @B_L3L2} : memref<4096xbf16>
      aiex.npu.dma_wait {symbol = @C_L2L3}
    }
  }
}
