void *memcpy(void *target, const void *source, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)target)[i] = ((const unsigned char *)source)[i];
    return target;
}

void *memset(void *target, int value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)target)[i] = (unsigned char)value;
    return target;
}
