// Compiles engine/kernels.cu as C++, and runs a kernel's threads one after the other.
#include <cmath>

struct Index {
    int x, y, z;
};
static thread_local Index blockIdx, threadIdx, blockDim;
#define __global__
#define __device__ static inline

#include KERNELS

template <auto kernel>
struct Host;

template <class... Arguments, void (*kernel)(Arguments...)>
struct Host<kernel> {
    static void run(int grid_x, int grid_y, int block_x, int block_y, Arguments... arguments) {
        blockDim = {block_x, block_y, 1};
        for (int by = 0; by < grid_y; ++by)
            for (int bx = 0; bx < grid_x; ++bx)
                for (int ty = 0; ty < block_y; ++ty)
                    for (int tx = 0; tx < block_x; ++tx) {
                        blockIdx = {bx, by, 0};
                        threadIdx = {tx, ty, 0};
                        kernel(arguments...);
                    }
    }
};

extern "C" {
void* host_resize_codes = (void*)&Host<&resize_codes>::run;
void* host_extract_L = (void*)&Host<&extract_L>::run;
void* host_fit_windows = (void*)&Host<&fit_windows>::run;
void* host_average_windows = (void*)&Host<&average_windows>::run;
void* host_write_chroma = (void*)&Host<&write_chroma>::run;
}
