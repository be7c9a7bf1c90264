/* Stands in for the library of NVIDIA's driver, so that the program can be tested without a GPU:
 * one GPU that draws 250 W all the time, as a recorded H100 answers. The version of the driver is
 * the text of the file that NVML_DRIVER names; without that file there is no driver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, DRIVER_NOT_LOADED = 9 };

static int text(const char *answer, char *to, unsigned length) {
    snprintf(to, length, "%s", answer);
    return SUCCESS;
}

static int number(unsigned answer, unsigned *to) {
    *to = answer;
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *to, unsigned length) {
    char version[64] = "";
    const char *path = getenv("NVML_DRIVER");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file || !fgets(version, sizeof version, file)) {
        if (file) fclose(file);
        return DRIVER_NOT_LOADED;
    }
    fclose(file);
    version[strcspn(version, "\n")] = 0;
    return text(version, to, length);
}

int nvmlInit_v2(void) {
    char version[64];
    return nvmlSystemGetDriverVersion(version, sizeof version);
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetCudaDriverVersion_v2(int *to) {
    *to = 12040;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *to) { return number(1, to); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **to) {
    static int gpu;
    (void)index;
    *to = &gpu;
    return SUCCESS;
}

int nvmlDeviceGetName(void *gpu, char *to, unsigned length) { return text("NVIDIA H100 80GB HBM3", to, length); }

int nvmlDeviceGetVbiosVersion(void *gpu, char *to, unsigned length) { return text("96.00.99.00.01", to, length); }

int nvmlDeviceGetPowerManagementLimit(void *gpu, unsigned *to) { return number(700000, to); }

int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned *to) { return number(61, to); }

int nvmlDeviceGetClockInfo(void *gpu, int clock, unsigned *to) { return number(clock == 1 ? 1980 : 2619, to); }

int nvmlDeviceGetPowerUsage(void *gpu, unsigned *to) { return number(250000, to); }

int nvmlDeviceGetUtilizationRates(void *gpu, unsigned to[2]) {
    to[0] = 97;
    to[1] = 40;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *gpu, unsigned long long *to) {
    *to = 0x4;
    return SUCCESS;
}

struct memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

int nvmlDeviceGetMemoryInfo_v2(void *gpu, struct memory *to) {
    to->used = 72318189568ull;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *to) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *to = 250ull * (1000ull * now.tv_sec + now.tv_nsec / 1000000);
    return SUCCESS;
}
