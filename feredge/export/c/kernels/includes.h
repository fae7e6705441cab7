#include <stddef.h>
#include <stdint.h>
#if defined(__has_include)
#if !__has_include(<string.h>)
#define FEREDGE_NO_STRING_H
#endif
#endif
#ifndef FEREDGE_NO_STRING_H
#include <string.h>
#elif defined(__cplusplus)
extern "C" {
void *memcpy(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);
}
#else
void *memcpy(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);
#endif
