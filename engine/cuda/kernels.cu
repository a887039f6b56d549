// The GPU twins of stream/chroma.py: luma to L, and ab to Cb and Cr, on frames that stay on the
// device. The same source is compiled as C++ for the tests, which hold it against the reference.
//
// Codes travel between kernels as uint16, right-aligned, whatever the surface's own layout is.

struct Surface {  // samples of one component: NV12, P010 or planar
    unsigned long long address;
    int pitch;   // bytes from row to row
    int width, height;
    int wide;    // 1: two bytes a sample
    int shift;   // P010 keeps its codes in the upper bits
    int step;    // samples from one to the next: 2 where Cb and Cr alternate
};

__device__ int read_code(const Surface& s, int x, int y) {
    const unsigned char* row = (const unsigned char*)s.address + (long long)y * s.pitch;
    if (!s.wide) return row[(long long)x * s.step];
    return ((const unsigned short*)row)[(long long)x * s.step] >> s.shift;
}

__device__ void write_code(const Surface& s, int x, int y, int code) {
    unsigned char* row = (unsigned char*)s.address + (long long)y * s.pitch;
    if (!s.wide)
        row[(long long)x * s.step] = (unsigned char)code;
    else
        ((unsigned short*)row)[(long long)x * s.step] = (unsigned short)(code << s.shift);
}

__device__ int clamp(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

// The index that a window reads past the border: 2 1 | 0 1 2 ... (OpenCV's default border).
__device__ int reflect(int i, int n) {
    if (n == 1) return 0;
    while (i < 0 || i >= n) i = i < 0 ? -i : 2 * n - 2 - i;
    return i;
}

// Four weights of a bilinear sample, pixel centres at halves, edges replicated.
struct Sample {
    int x0, x1, y0, y1;
    float x, y;
};

__device__ Sample bilinear(int x, int y, int width, int height, int source_width, int source_height) {
    float sx = ((float)x + 0.5f) * ((float)source_width / (float)width) - 0.5f;
    float sy = ((float)y + 0.5f) * ((float)source_height / (float)height) - 0.5f;
    float left = floorf(sx), top = floorf(sy);
    Sample s;
    s.x0 = clamp((int)left, 0, source_width - 1);
    s.x1 = clamp((int)left + 1, 0, source_width - 1);
    s.y0 = clamp((int)top, 0, source_height - 1);
    s.y1 = clamp((int)top + 1, 0, source_height - 1);
    s.x = sx - left;
    s.y = sy - top;
    return s;
}

__device__ float mix(float a, float b, float share) { return a + (b - a) * share; }

__device__ float take(const float* plane, const Sample& s, int width) {
    const float* upper = plane + (long long)s.y0 * width;
    const float* lower = plane + (long long)s.y1 * width;
    return mix(mix(upper[s.x0], upper[s.x1], s.x), mix(lower[s.x0], lower[s.x1], s.x), s.y);
}

// The mean of the codes that a smaller picture's sample stands for, `before` columns further left.
// In float: consumer GPUs have a 64th of the units for double. Halving a side stays exact.
__device__ float area_mean(const Surface& source, int x, int y, int width, int height, int before) {
    float across = (float)source.width / (float)width, down = (float)source.height / (float)height;
    float left = (float)x * across - (float)before, right = left + across;
    float top = (float)y * down, bottom = top + down;
    int x0 = (int)floorf(left), x1 = (int)ceilf(right);
    int y0 = (int)top, y1 = (int)ceilf(bottom);
    float sum = 0;
    for (int row = y0; row < y1 && row < source.height; ++row) {
        float tall = fminf((float)row + 1.0f, bottom) - fmaxf((float)row, top), line = 0;
        for (int column = x0; column < x1 && column < source.width; ++column)
            line += (fminf((float)column + 1.0f, right) - fmaxf((float)column, left)) *
                    (float)read_code(source, column < 0 ? 0 : column, row);
        sum += line * tall;
    }
    return sum / (across * down);
}

// Brings codes to another size: area average down, bilinear up. Left-sited samples lie on the left
// one of the two columns that they stand for, and see the column before them as well.
extern "C" __global__ void resize_codes(Surface source, unsigned short* target, int width, int height,
                                        int left_sited) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float mean;
    if (source.width >= width && source.height >= height) {
        mean = area_mean(source, x, y, width, height, 0);
        if (left_sited) {  // rounded in the order of `stream.chroma.chroma_guide`
            int before = (int)floorf(area_mean(source, x, y, width, height, 1) + 0.5f);
            int between = (int)floorf(mean + 0.5f);
            target[(long long)y * width + x] = (unsigned short)((before + between) / 2);
            return;
        }
    } else {
        Sample s = bilinear(x, y, width, height, source.width, source.height);
        float upper = mix((float)read_code(source, s.x0, s.y0), (float)read_code(source, s.x1, s.y0), s.x);
        float lower = mix((float)read_code(source, s.x0, s.y1), (float)read_code(source, s.x1, s.y1), s.x);
        mean = mix(upper, lower, s.y);
    }
    // Halves go up, as in OpenCV: of the means of four codes, one in four is a half.
    target[(long long)y * width + x] = (unsigned short)floorf(mean + 0.5f);
}

// Luma codes to L*: range expansion, sRGB (IEC 61966-2-1) to linear light, CIE 15 lightness.
extern "C" __global__ void extract_L(const unsigned short* codes, float* L, int size, float offset,
                                     float scale) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float luma = fminf(fmaxf(((float)codes[i] - offset) / scale, 0.0f), 1.0f);
    float y = luma <= 0.04045f ? luma / 12.92f : powf((luma + 0.055f) / 1.055f, 2.4f);
    const float delta = 6.0f / 29.0f;
    float f = y > delta * delta * delta ? cbrtf(y) : y / (3 * delta * delta) + 4.0f / 29.0f;
    L[i] = 116.0f * f - 16.0f;
}

// The guided filter's coefficients in every window (He and Sun 2015, algorithm 2), for ab counted
// in steps of the chroma table. Planes follow each other: slope a, slope b, offset a, offset b.
extern "C" __global__ void fit_windows(const unsigned short* guide, const float* ab, float* fits,
                                       int width, int height, int radius, float top, float gain,
                                       float origin, float epsilon) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int plane = width * height, here = y * width + x;
    if (radius < 0) {  // no guide: bilinear enlargement of ab itself
        for (int c = 0; c < 2; ++c) {
            fits[c * plane + here] = 0;
            fits[(2 + c) * plane + here] = ab[c * plane + here] * gain + origin;
        }
        return;
    }
    float g = 0, gg = 0, a = 0, b = 0, ga = 0, gb = 0;
    for (int dy = -radius; dy <= radius; ++dy)
        for (int dx = -radius; dx <= radius; ++dx) {
            int at = reflect(y + dy, height) * width + reflect(x + dx, width);
            float luma = (float)guide[at] / top;
            float ta = ab[at] * gain + origin, tb = ab[plane + at] * gain + origin;
            g += luma;
            gg += luma * luma;
            a += ta;
            b += tb;
            ga += luma * ta;
            gb += luma * tb;
        }
    float count = (float)((2 * radius + 1) * (2 * radius + 1));
    g /= count;
    a /= count;
    b /= count;
    float spread = fmaxf(gg / count - g * g, 0.0f) + epsilon;
    float slope_a = (ga / count - g * a) / spread, slope_b = (gb / count - g * b) / spread;
    fits[here] = slope_a;
    fits[plane + here] = slope_b;
    fits[2 * plane + here] = a - slope_a * g;
    fits[3 * plane + here] = b - slope_b * g;
}

// Each cell's coefficients: the mean over the windows that hold it.
extern "C" __global__ void average_windows(const float* fits, float* model, int width, int height,
                                           int radius) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    int plane = width * height;
    float count = (float)((2 * radius + 1) * (2 * radius + 1));
    for (int c = 0; c < 4; ++c) {
        float sum = 0;
        for (int dy = -radius; dy <= radius; ++dy)
            for (int dx = -radius; dx <= radius; ++dx)
                sum += fits[c * plane + reflect(y + dy, height) * width + reflect(x + dx, width)];
        model[c * plane + y * width + x] = sum / count;
    }
}

// Bilinear in the table's a and b; its luma levels are apart.
__device__ float look_up(const unsigned short* table, int size, float column, float row) {
    int x = (int)column, y = (int)row;
    if (x > size - 2) x = size - 2;
    if (y > size - 2) y = size - 2;
    const unsigned short* at = table + y * size + x;
    float fx = column - x, fy = row - y;
    return mix(mix(at[0], at[1], fx), mix(at[size], at[size + 1], fx), fy);
}

// Chroma codes of every sample, from the frame's own luma there and the enlarged coefficients.
extern "C" __global__ void write_chroma(Surface cb, Surface cr, const unsigned short* guide,
                                        const float* model, const unsigned short* cb_table,
                                        const unsigned short* cr_table, int width, int height,
                                        int table_size, int levels, float top) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= cb.width || y >= cb.height) return;
    Sample s = bilinear(x, y, cb.width, cb.height, width, height);
    int plane = width * height;
    float code = (float)guide[(long long)y * cb.width + x], luma = code / top;
    float last = (float)(table_size - 1);
    float column = take(model, s, width) * luma + take(model + 2 * plane, s, width);
    float row = take(model + plane, s, width) * luma + take(model + 3 * plane, s, width);
    column = fminf(fmaxf(column, 0.0f), last);
    row = fminf(fmaxf(row, 0.0f), last);
    int level = (int)rintf(fminf(code / top, 1.0f) * (float)(levels - 1));
    long long page = (long long)level * table_size * table_size;
    write_code(cb, x, y, (int)rintf(look_up(cb_table + page, table_size, column, row)));
    write_code(cr, x, y, (int)rintf(look_up(cr_table + page, table_size, column, row)));
}
