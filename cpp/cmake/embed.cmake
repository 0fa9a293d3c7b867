# cmake -DFROM=file -DTO=file.cpp -P embed.cmake: the bytes of a file as an array.
file(READ ${FROM} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${TO} "namespace yolort {
extern const unsigned char cuda_kernels[];
alignas(16) const unsigned char cuda_kernels[] = {${bytes}};
}  // namespace yolort
")
