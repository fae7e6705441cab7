/* The two functions of a C library that the network needs: a compiled bundle has none. */
void *memcpy(void *target, const void *source, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)target)[i] = ((const uint8_t *)source)[i];
    return target;
}

void *memset(void *target, int value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)target)[i] = (uint8_t)value;
    return target;
}
