/* A library with NVML's C interface and no card behind it: it plays a scenario.
 *
 * It stands in for libnvidia-ml.so.1 in tests and in virtual boxes, so that programs that load NVML
 * (pynvml, gpustat, nvitop, labctl) run for real where there is no card. Every name of a card that
 * it gives out ends in "(simulated)".
 *
 * Built by labctl/vlab/nvml/build.py. The scenario is the file in $LABCTL_NVML_SCENARIO, else
 * /etc/labctl/nvml.scenario; docs/gpu.md says what stands in it. It is read again when it changes.
 *
 * Interface: NVIDIA NVML API reference, nvml.h (functions, structures, codes). The order of the
 * fields of a structure is the interface; nothing of NVIDIA's code is in here.
 */

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	GPU_IS_LOST = 15,
};

#define MAX_CARDS 64
#define MAX_LINES 4096
#define MAX_MIG 8
#define NO_INSTANCE 0xFFFFFFFFu

typedef int result;

/* One line of the scenario, true from `from` until `until` seconds after the library was first
 * initialised, and while a process called `program` runs if that is not empty; `card` is -1 for lines
 * above the first card. */
struct line {
	int card;
	double from, until;
	char program[20];
	char key[48];
	char value[256];
};

struct device {
	int card;
	int mig; /* -1: the card itself */
};

static struct line lines[MAX_LINES];
static int line_count, card_count;
static struct device devices[MAX_CARDS][MAX_MIG + 1];
static struct timespec read_at;
static off_t read_size = -1;
static double started;
static int users;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The process called `name` (proc_pid_comm(5)) with the lowest id, or 0. Known for a moment: one
 * reading asks for it many times. */
static unsigned pid_of_name(const char *name)
{
	static struct {
		char name[20];
		unsigned pid;
		double at;
	} known[8];
	static unsigned next;
	for (unsigned i = 0; i < 8; i++)
		if (!strcmp(known[i].name, name) && now() - known[i].at < 0.2)
			return known[i].pid;
	unsigned found = 0;
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	while (folder && (entry = readdir(folder))) {
		char path[300], said[32] = "";
		unsigned pid = (unsigned)strtoul(entry->d_name, NULL, 10);
		if (!pid || (found && found < pid))
			continue;
		snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
		FILE *file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(said, sizeof said, file))
			said[strcspn(said, "\n")] = 0;
		fclose(file);
		if (!strcmp(said, name))
			found = pid;
	}
	if (folder)
		closedir(folder);
	snprintf(known[next].name, sizeof known[next].name, "%s", name);
	known[next].pid = found;
	known[next].at = now();
	next = (next + 1) % 8;
	return found;
}

static const char *scenario(void)
{
	const char *path = getenv("LABCTL_NVML_SCENARIO");
	return path && *path ? path : "/etc/labctl/nvml.scenario";
}

static void parse(char *text, int *card)
{
	struct line one = {.card = *card, .from = 0, .until = 1e18};
	char *word = text + strspn(text, " \t");
	word[strcspn(word, "\r\n")] = 0;
	if (*word == '#' || !*word)
		return;
	if (*word == '@') { /* "@10-20 key value" */
		char *end;
		one.from = strtod(word + 1, &end);
		if (*end == '-')
			one.until = strtod(end + 1, &end);
		word = end + strspn(end, " \t");
	}
	if (*word == '?') { /* "?program key value" */
		size_t size = strcspn(++word, " \t");
		snprintf(one.program, sizeof one.program, "%.*s", (int)size, word);
		word += size + strspn(word + size, " \t");
	}
	size_t length = strcspn(word, " \t");
	if (!length || length >= sizeof one.key)
		return;
	memcpy(one.key, word, length);
	word += length;
	word += strspn(word, " \t");
	snprintf(one.value, sizeof one.value, "%s", word);
	if (!strcmp(one.key, "card")) {
		if (card_count < MAX_CARDS)
			*card = card_count++;
		return;
	}
	if (line_count < MAX_LINES)
		lines[line_count++] = one;
}

/* Read the scenario if it is another one than last time. */
static void reload(void)
{
	struct stat facts;
	if (stat(scenario(), &facts) != 0)
		return;
	if (facts.st_size == read_size && facts.st_mtim.tv_sec == read_at.tv_sec &&
	    facts.st_mtim.tv_nsec == read_at.tv_nsec)
		return;
	FILE *file = fopen(scenario(), "r");
	if (!file)
		return;
	read_at = facts.st_mtim;
	read_size = facts.st_size;
	line_count = card_count = 0;
	int card = -1;
	char text[512];
	while (fgets(text, sizeof text, file))
		parse(text, &card);
	fclose(file);
	for (int c = 0; c < MAX_CARDS; c++)
		for (int m = 0; m <= MAX_MIG; m++)
			devices[c][m] = (struct device){c, m - 1};
}

static int holds(const struct line *one, double seconds)
{
	return one->from <= seconds && seconds < one->until &&
	       (!*one->program || pid_of_name(one->program));
}

/* The value of `key` of a card (-1: of the machine) now, or NULL. The last line counts. */
static const char *get(int card, const char *key)
{
	double seconds = now() - started;
	const char *found = NULL;
	for (int i = 0; i < line_count; i++)
		if (lines[i].card == card && !strcmp(lines[i].key, key) && holds(&lines[i], seconds))
			found = lines[i].value;
	return found;
}

/* The `n`th line `key` of a card that holds now, or NULL. */
static const char *nth(int card, const char *key, int n)
{
	double seconds = now() - started;
	for (int i = 0; i < line_count; i++)
		if (lines[i].card == card && !strcmp(lines[i].key, key) &&
		    holds(&lines[i], seconds) && n-- == 0)
			return lines[i].value;
	return NULL;
}

/* What the scenario says of a call: SUCCESS, or the code that it must return. May not return. */
static result trouble(int card, const char *function)
{
	double seconds = now() - started;
	result code = SUCCESS;
	for (int i = 0; i < line_count; i++) {
		const struct line *one = &lines[i];
		char name[64];
		int number = 0;
		if (one->card != -1 && one->card != card)
			continue;
		if ((strcmp(one->key, "lost") && strcmp(one->key, "return") && strcmp(one->key, "hang")) ||
		    !holds(one, seconds))
			continue;
		if (!strcmp(one->key, "lost") && one->card == card)
			code = GPU_IS_LOST;
		if (!strcmp(one->key, "return") &&
		    sscanf(one->value, "%63s %d", name, &number) == 2 && !strcmp(name, function))
			code = number;
		if (!strcmp(one->key, "hang") && sscanf(one->value, "%63s", name) == 1 &&
		    !strcmp(name, function)) {
			pthread_mutex_unlock(&lock);
			for (;;)
				pause();
		}
	}
	return code;
}

static result enter(const struct device *device, const char *function)
{
	pthread_mutex_lock(&lock);
	reload();
	result code = SUCCESS;
	if (!users)
		code = UNINITIALIZED;
	else if (device && (device < &devices[0][0] || device >= &devices[MAX_CARDS - 1][MAX_MIG + 1] ||
			    device->card >= card_count))
		code = INVALID_ARGUMENT;
	else
		code = trouble(device ? device->card : -1, function);
	return code;
}

static result leave(result code)
{
	pthread_mutex_unlock(&lock);
	return code;
}

#define ENTER(device, function)                       \
	do {                                          \
		result entered = enter(device, function); \
		if (entered != SUCCESS)               \
			return leave(entered);        \
	} while (0)

static result text_out(const char *value, char *out, unsigned size)
{
	if (!value)
		return NOT_SUPPORTED;
	if (!out || strlen(value) >= size)
		return INSUFFICIENT_SIZE;
	strcpy(out, value);
	return SUCCESS;
}

static result number(int card, const char *key, unsigned long long *out)
{
	const char *value = get(card, key);
	if (!value)
		return NOT_SUPPORTED;
	*out = strtoull(value, NULL, 0);
	return SUCCESS;
}

static result get_u(const struct device *d, const char *function, const char *key, unsigned *out)
{
	ENTER(d, function);
	unsigned long long value = 0;
	result code = out ? number(d->card, key, &value) : INVALID_ARGUMENT;
	if (code == SUCCESS)
		*out = (unsigned)value;
	return leave(code);
}

/* --- the system --------------------------------------------------------------------------------- */

static result init(const char *function)
{
	pthread_mutex_lock(&lock);
	if (!users)
		started = now();
	reload();
	result code = read_size < 0 ? 9 : trouble(-1, function); /* 9: driver not loaded */
	if (code == SUCCESS)
		users++;
	return leave(code);
}

EXPORT result nvmlInit(void) { return init("nvmlInit"); }
EXPORT result nvmlInit_v2(void) { return init("nvmlInit"); }
EXPORT result nvmlInitWithFlags(unsigned flags) { (void)flags; return init("nvmlInit"); }

EXPORT result nvmlShutdown(void)
{
	ENTER(NULL, "nvmlShutdown");
	users--;
	return leave(SUCCESS);
}

EXPORT const char *nvmlErrorString(result code)
{
	switch (code) {
	case 0: return "Success";
	case 1: return "Uninitialized";
	case 2: return "Invalid Argument";
	case 3: return "Not Supported";
	case 4: return "Insufficient Permissions";
	case 6: return "Not Found";
	case 7: return "Insufficient Size";
	case 9: return "Driver Not Loaded";
	case 10: return "Timeout";
	case 12: return "NVML Shared Library Not Found";
	case 13: return "Function Not Found";
	case 15: return "GPU is lost";
	case 16: return "GPU requires reset";
	case 18: return "Driver/library version mismatch";
	default: return "Unknown Error";
	}
}

EXPORT result nvmlSystemGetDriverVersion(char *out, unsigned size)
{
	ENTER(NULL, "nvmlSystemGetDriverVersion");
	const char *value = get(-1, "driver");
	return leave(text_out(value ? value : "0.0", out, size));
}

EXPORT result nvmlSystemGetNVMLVersion(char *out, unsigned size)
{
	ENTER(NULL, "nvmlSystemGetNVMLVersion");
	const char *value = get(-1, "driver");
	return leave(text_out(value ? value : "0.0", out, size));
}

EXPORT result nvmlSystemGetCudaDriverVersion(int *out)
{
	ENTER(NULL, "nvmlSystemGetCudaDriverVersion");
	unsigned long long value = 0;
	result code = number(-1, "cuda", &value);
	*out = (int)value;
	return leave(code);
}

EXPORT result nvmlSystemGetCudaDriverVersion_v2(int *out)
{
	return nvmlSystemGetCudaDriverVersion(out);
}

EXPORT result nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size)
{
	char path[64], name[256] = "";
	ENTER(NULL, "nvmlSystemGetProcessName");
	snprintf(path, sizeof path, "/proc/%u/comm", pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return leave(NOT_FOUND);
	size_t length = fread(name, 1, sizeof name - 1, file);
	fclose(file);
	name[length ? length - 1 : 0] = 0;
	return leave(text_out(name, out, size));
}

/* --- handles ------------------------------------------------------------------------------------ */

EXPORT result nvmlDeviceGetCount(unsigned *out)
{
	ENTER(NULL, "nvmlDeviceGetCount");
	*out = (unsigned)card_count;
	return leave(SUCCESS);
}
EXPORT result nvmlDeviceGetCount_v2(unsigned *out) { return nvmlDeviceGetCount(out); }

EXPORT result nvmlDeviceGetHandleByIndex(unsigned index, struct device **out)
{
	ENTER(NULL, "nvmlDeviceGetHandleByIndex");
	if (index >= (unsigned)card_count)
		return leave(INVALID_ARGUMENT);
	*out = &devices[index][0];
	/* A lost card is found out here by the real library, too. */
	return leave(trouble((int)index, "nvmlDeviceGetHandleByIndex"));
}
EXPORT result nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **out)
{
	return nvmlDeviceGetHandleByIndex(index, out);
}

static result find(const char *function, const char *key, const char *value, struct device **out)
{
	ENTER(NULL, function);
	for (int card = 0; card < card_count; card++) {
		const char *found = get(card, key);
		if (found && !strcasecmp(found, value)) {
			*out = &devices[card][0];
			return leave(trouble(card, function));
		}
	}
	return leave(NOT_FOUND);
}
EXPORT result nvmlDeviceGetHandleByUUID(const char *uuid, struct device **out)
{
	return find("nvmlDeviceGetHandleByUUID", "uuid", uuid, out);
}
EXPORT result nvmlDeviceGetHandleByPciBusId(const char *pci, struct device **out)
{
	return find("nvmlDeviceGetHandleByPciBusId", "pci", pci, out);
}
EXPORT result nvmlDeviceGetHandleByPciBusId_v2(const char *pci, struct device **out)
{
	return find("nvmlDeviceGetHandleByPciBusId", "pci", pci, out);
}

/* --- MIG: "mig UUID GPU-INSTANCE COMPUTE-INSTANCE TOTAL USED" ------------------------------------ */

struct mig {
	char uuid[96];
	unsigned gi, ci;
	unsigned long long total, used;
};

static int mig_of(const struct device *d, struct mig *out)
{
	const char *value = d->mig < 0 ? NULL : nth(d->card, "mig", d->mig);
	return value && sscanf(value, "%95s %u %u %llu %llu", out->uuid, &out->gi, &out->ci,
			       &out->total, &out->used) == 5;
}

EXPORT result nvmlDeviceGetMigMode(const struct device *d, unsigned *current, unsigned *pending)
{
	ENTER(d, "nvmlDeviceGetMigMode");
	unsigned long long value = 0;
	result code = number(d->card, "mig_mode", &value);
	*current = *pending = (unsigned)value;
	return leave(code);
}

EXPORT result nvmlDeviceGetMaxMigDeviceCount(const struct device *d, unsigned *out)
{
	ENTER(d, "nvmlDeviceGetMaxMigDeviceCount");
	*out = get(d->card, "mig_mode") ? MAX_MIG : 0;
	return leave(SUCCESS);
}

EXPORT result nvmlDeviceGetMigDeviceHandleByIndex(const struct device *d, unsigned index,
						  struct device **out)
{
	ENTER(d, "nvmlDeviceGetMigDeviceHandleByIndex");
	if (index >= MAX_MIG || !nth(d->card, "mig", (int)index))
		return leave(NOT_FOUND);
	*out = &devices[d->card][index + 1];
	return leave(SUCCESS);
}

EXPORT result nvmlDeviceIsMigDeviceHandle(const struct device *d, unsigned *out)
{
	ENTER(d, "nvmlDeviceIsMigDeviceHandle");
	*out = d->mig >= 0;
	return leave(SUCCESS);
}

EXPORT result nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const struct device *d,
							   struct device **out)
{
	ENTER(d, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle");
	*out = &devices[d->card][0];
	return leave(SUCCESS);
}

static result instance(const struct device *d, const char *function, int compute, unsigned *out)
{
	struct mig mig;
	ENTER(d, function);
	if (!mig_of(d, &mig))
		return leave(INVALID_ARGUMENT);
	*out = compute ? mig.ci : mig.gi;
	return leave(SUCCESS);
}
EXPORT result nvmlDeviceGetGpuInstanceId(const struct device *d, unsigned *out)
{
	return instance(d, "nvmlDeviceGetGpuInstanceId", 0, out);
}
EXPORT result nvmlDeviceGetComputeInstanceId(const struct device *d, unsigned *out)
{
	return instance(d, "nvmlDeviceGetComputeInstanceId", 1, out);
}

/* --- what a card is ----------------------------------------------------------------------------- */

EXPORT result nvmlDeviceGetName(const struct device *d, char *out, unsigned size)
{
	char name[300];
	ENTER(d, "nvmlDeviceGetName");
	const char *value = get(d->card, "name");
	snprintf(name, sizeof name, "%s (simulated)", value ? value : "NVIDIA card");
	return leave(text_out(name, out, size));
}

EXPORT result nvmlDeviceGetUUID(const struct device *d, char *out, unsigned size)
{
	struct mig mig;
	ENTER(d, "nvmlDeviceGetUUID");
	return leave(text_out(mig_of(d, &mig) ? mig.uuid : get(d->card, "uuid"), out, size));
}

EXPORT result nvmlDeviceGetSerial(const struct device *d, char *out, unsigned size)
{
	ENTER(d, "nvmlDeviceGetSerial");
	return leave(text_out(get(d->card, "serial"), out, size));
}

EXPORT result nvmlDeviceGetVbiosVersion(const struct device *d, char *out, unsigned size)
{
	ENTER(d, "nvmlDeviceGetVbiosVersion");
	return leave(text_out(get(d->card, "vbios"), out, size));
}

EXPORT result nvmlDeviceGetIndex(const struct device *d, unsigned *out)
{
	ENTER(d, "nvmlDeviceGetIndex");
	*out = (unsigned)(d->mig >= 0 ? d->mig : d->card);
	return leave(SUCCESS);
}

struct pci_info {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char address[32];
};

EXPORT result nvmlDeviceGetPciInfo_v3(const struct device *d, struct pci_info *out)
{
	ENTER(d, "nvmlDeviceGetPciInfo");
	const char *value = get(d->card, "pci");
	unsigned domain, bus, device, function;
	if (!value || sscanf(value, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
		return leave(NOT_SUPPORTED);
	memset(out, 0, sizeof *out);
	out->domain = domain;
	out->bus = bus;
	out->device = device;
	snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.%X", domain & 0xffff, bus & 0xff,
		 device & 0xff, function & 0xf);
	snprintf(out->address, sizeof out->address, "%08X:%02X:%02X.%X", domain, bus, device, function);
	return leave(SUCCESS);
}
EXPORT result nvmlDeviceGetPciInfo_v2(const struct device *d, struct pci_info *out)
{
	return nvmlDeviceGetPciInfo_v3(d, out);
}
EXPORT result nvmlDeviceGetPciInfo(const struct device *d, struct pci_info *out)
{
	return nvmlDeviceGetPciInfo_v3(d, out);
}

/* Functions that give out one unsigned number. */
#define NUMBER(function, key)                                                  \
	EXPORT result function(const struct device *d, unsigned *out)          \
	{                                                                      \
		return get_u(d, #function, key, out);                          \
	}

NUMBER(nvmlDeviceGetMinorNumber, "minor")
NUMBER(nvmlDeviceGetBrand, "brand")
NUMBER(nvmlDeviceGetArchitecture, "architecture")
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
NUMBER(nvmlDeviceGetDisplayActive, "display_active")
NUMBER(nvmlDeviceGetDisplayMode, "display_mode")
NUMBER(nvmlDeviceGetComputeMode, "compute_mode")
NUMBER(nvmlDeviceGetPerformanceState, "performance_state")
NUMBER(nvmlDeviceGetPowerState, "performance_state")
NUMBER(nvmlDeviceGetPowerUsage, "power")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power_limit")
NUMBER(nvmlDeviceGetPowerManagementLimit, "power_limit")
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default")
NUMBER(nvmlDeviceGetFanSpeed, "fan")
NUMBER(nvmlDeviceGetNumFans, "fans")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
NUMBER(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, "retire_pending")

EXPORT result nvmlDeviceGetFanSpeed_v2(const struct device *d, unsigned fan, unsigned *out)
{
	(void)fan;
	return get_u(d, "nvmlDeviceGetFanSpeed", "fan", out);
}

EXPORT result nvmlDeviceGetPowerManagementLimitConstraints(const struct device *d, unsigned *low,
							   unsigned *high)
{
	ENTER(d, "nvmlDeviceGetPowerManagementLimitConstraints");
	unsigned long long most = 0, least = 0;
	result code = number(d->card, "power_limit_max", &most);
	number(d->card, "power_limit_min", &least);
	*low = (unsigned)least;
	*high = (unsigned)most;
	return leave(code);
}

EXPORT result nvmlDeviceGetCudaComputeCapability(const struct device *d, int *major, int *minor)
{
	ENTER(d, "nvmlDeviceGetCudaComputeCapability");
	const char *value = get(d->card, "compute_capability");
	return leave(value && sscanf(value, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_SUPPORTED);
}

/* --- memory, load, clocks, heat ------------------------------------------------------------------ */

struct memory {
	unsigned long long total, free, used;
};
struct memory_v2 {
	unsigned version;
	unsigned long long total, reserved, free, used;
};

static result memory(const struct device *d, struct memory_v2 *out)
{
	struct mig mig;
	if (mig_of(d, &mig)) {
		out->total = mig.total;
		out->reserved = 0;
		out->used = mig.used;
		out->free = mig.total - mig.used;
		return SUCCESS;
	}
	result code = number(d->card, "memory_total", &out->total);
	if (code == SUCCESS)
		code = number(d->card, "memory_used", &out->used);
	out->reserved = 0;
	number(d->card, "memory_reserved", &out->reserved);
	out->free = out->total - out->used - out->reserved;
	return code;
}

EXPORT result nvmlDeviceGetMemoryInfo(const struct device *d, struct memory *out)
{
	struct memory_v2 found = {0};
	ENTER(d, "nvmlDeviceGetMemoryInfo");
	result code = memory(d, &found);
	/* The first version counts what is reserved as used. */
	*out = (struct memory){found.total, found.free, found.used + found.reserved};
	return leave(code);
}
EXPORT result nvmlDeviceGetMemoryInfo_v2(const struct device *d, struct memory_v2 *out)
{
	ENTER(d, "nvmlDeviceGetMemoryInfo");
	return leave(memory(d, out));
}

EXPORT result nvmlDeviceGetBAR1MemoryInfo(const struct device *d, struct memory *out)
{
	ENTER(d, "nvmlDeviceGetBAR1MemoryInfo");
	result code = number(d->card, "bar1_total", &out->total);
	out->used = 0;
	number(d->card, "bar1_used", &out->used);
	out->free = out->total - out->used;
	return leave(code);
}

struct utilisation {
	unsigned gpu, memory;
};

EXPORT result nvmlDeviceGetUtilizationRates(const struct device *d, struct utilisation *out)
{
	ENTER(d, "nvmlDeviceGetUtilizationRates");
	unsigned long long load = 0, bus = 0;
	result code = d->mig >= 0 ? NOT_SUPPORTED : number(d->card, "utilisation", &load);
	number(d->card, "memory_utilisation", &bus);
	*out = (struct utilisation){(unsigned)load, (unsigned)bus};
	return leave(code);
}

static result sampled(const struct device *d, const char *function, const char *key, unsigned *out,
		      unsigned *period)
{
	*period = 167000;
	return get_u(d, function, key, out);
}
EXPORT result nvmlDeviceGetEncoderUtilization(const struct device *d, unsigned *out, unsigned *us)
{
	return sampled(d, "nvmlDeviceGetEncoderUtilization", "encoder_utilisation", out, us);
}
EXPORT result nvmlDeviceGetDecoderUtilization(const struct device *d, unsigned *out, unsigned *us)
{
	return sampled(d, "nvmlDeviceGetDecoderUtilization", "decoder_utilisation", out, us);
}

static const char *const clock_keys[4] = {"clock_graphics", "clock_sm", "clock_memory",
					  "clock_video"};
static const char *const max_clock_keys[4] = {"clock_graphics_max", "clock_sm_max",
					      "clock_memory_max", "clock_video_max"};
EXPORT result nvmlDeviceGetClockInfo(const struct device *d, unsigned kind, unsigned *out)
{
	return get_u(d, "nvmlDeviceGetClockInfo", clock_keys[kind & 3], out);
}
EXPORT result nvmlDeviceGetMaxClockInfo(const struct device *d, unsigned kind, unsigned *out)
{
	return get_u(d, "nvmlDeviceGetMaxClockInfo", max_clock_keys[kind & 3], out);
}

static result reasons(const struct device *d, const char *function, unsigned long long *out)
{
	ENTER(d, function);
	return leave(number(d->card, "clock_reasons", out));
}
EXPORT result nvmlDeviceGetCurrentClocksEventReasons(const struct device *d,
						     unsigned long long *out)
{
	return reasons(d, "nvmlDeviceGetCurrentClocksEventReasons", out);
}
EXPORT result nvmlDeviceGetCurrentClocksThrottleReasons(const struct device *d,
							unsigned long long *out)
{
	return reasons(d, "nvmlDeviceGetCurrentClocksThrottleReasons", out);
}

EXPORT result nvmlDeviceGetTemperature(const struct device *d, unsigned sensor, unsigned *out)
{
	(void)sensor;
	return get_u(d, "nvmlDeviceGetTemperature", "temperature", out);
}

struct temperature {
	unsigned version, sensor;
	int value;
};
EXPORT result nvmlDeviceGetTemperatureV(const struct device *d, struct temperature *out)
{
	return get_u(d, "nvmlDeviceGetTemperature", "temperature", (unsigned *)&out->value);
}

EXPORT result nvmlDeviceGetTemperatureThreshold(const struct device *d, unsigned kind, unsigned *out)
{
	const char *key = kind == 0 ? "temperature_shutdown" : kind == 1 ? "temperature_slowdown" : "-";
	return get_u(d, "nvmlDeviceGetTemperatureThreshold", key, out);
}

struct margin {
	unsigned version;
	int value;
};
EXPORT result nvmlDeviceGetMarginTemperature(const struct device *d, struct margin *out)
{
	return get_u(d, "nvmlDeviceGetMarginTemperature", "temperature_margin",
		     (unsigned *)&out->value);
}

/* --- faults ------------------------------------------------------------------------------------- */

EXPORT result nvmlDeviceGetEccMode(const struct device *d, unsigned *current, unsigned *pending)
{
	ENTER(d, "nvmlDeviceGetEccMode");
	unsigned long long value = 0;
	result code = number(d->card, "ecc", &value);
	*current = *pending = (unsigned)value;
	return leave(code);
}

EXPORT result nvmlDeviceGetTotalEccErrors(const struct device *d, unsigned kind, unsigned counter,
					  unsigned long long *out)
{
	static const char *const keys[2][2] = {{"ecc_corrected", "ecc_corrected_ever"},
					       {"ecc_uncorrected", "ecc_uncorrected_ever"}};
	ENTER(d, "nvmlDeviceGetTotalEccErrors");
	return leave(number(d->card, keys[kind & 1][counter & 1], out));
}

EXPORT result nvmlDeviceGetRemappedRows(const struct device *d, unsigned *corrected,
					unsigned *uncorrected, unsigned *pending, unsigned *failed)
{
	ENTER(d, "nvmlDeviceGetRemappedRows");
	const char *value = get(d->card, "remapped_rows");
	int found = value ? sscanf(value, "%u %u %u %u", corrected, uncorrected, pending, failed) : 0;
	return leave(found == 4 ? SUCCESS : NOT_SUPPORTED);
}

EXPORT result nvmlDeviceGetRetiredPages(const struct device *d, unsigned cause, unsigned *count,
					unsigned long long *addresses)
{
	unsigned long long value = 0;
	ENTER(d, "nvmlDeviceGetRetiredPages");
	result code = number(d->card, cause ? "retired_double" : "retired_single", &value);
	if (code == SUCCESS && *count < value) {
		*count = (unsigned)value;
		return leave(INSUFFICIENT_SIZE);
	}
	for (unsigned i = 0; code == SUCCESS && addresses && i < value; i++)
		addresses[i] = 0x1000ull * (i + 1);
	*count = (unsigned)value;
	return leave(code);
}

struct field {
	unsigned id, scope;
	long long timestamp, latency;
	unsigned type;
	result code;
	union {
		unsigned number;
		unsigned long long large;
	} value;
};

EXPORT result nvmlDeviceGetFieldValues(const struct device *d, int count, struct field *fields)
{
	ENTER(d, "nvmlDeviceGetFieldValues");
	for (int i = 0; i < count; i++) {
		/* NVML_FI_DEV_MEMORY_TEMP, _NVLINK_SPEED_MBPS_COMMON, _NVLINK_LINK_COUNT,
		 * _GET_GPU_RECOVERY_ACTION */
		const char *key = fields[i].id == 82    ? "temperature_memory"
				  : fields[i].id == 90  ? "link_speed"
				  : fields[i].id == 230 ? "recovery_action"
							: "-";
		unsigned long long value = 0;
		fields[i].code = number(d->card, key, &value);
		if (fields[i].id == 91) {
			while (nth(d->card, "link", (int)value))
				value++;
			fields[i].code = value ? SUCCESS : NOT_SUPPORTED;
		}
		fields[i].type = 1; /* unsigned int */
		fields[i].value.large = 0;
		fields[i].value.number = (unsigned)value;
	}
	return leave(SUCCESS);
}

/* --- links: "link ACTIVE VERSION REPLAYS RECOVERIES CRC-FLIT CRC-DATA", one line each -------------- */

struct link {
	unsigned active, version;
	unsigned long long errors[4]; /* nvmlNvLinkErrorCounter_t */
};

static result link_of(const struct device *d, unsigned number, struct link *out)
{
	const char *value = nth(d->card, "link", (int)number);
	memset(out, 0, sizeof *out);
	if (!value)
		return get(d->card, "link") ? INVALID_ARGUMENT : NOT_SUPPORTED;
	return sscanf(value, "%u %u %llu %llu %llu %llu", &out->active, &out->version,
		      &out->errors[0], &out->errors[1], &out->errors[2], &out->errors[3]) >= 1
		       ? SUCCESS
		       : 999;
}

EXPORT result nvmlDeviceGetNvLinkState(const struct device *d, unsigned number, unsigned *out)
{
	struct link link;
	ENTER(d, "nvmlDeviceGetNvLinkState");
	result code = link_of(d, number, &link);
	*out = link.active;
	return leave(code);
}

EXPORT result nvmlDeviceGetNvLinkVersion(const struct device *d, unsigned number, unsigned *out)
{
	struct link link;
	ENTER(d, "nvmlDeviceGetNvLinkVersion");
	result code = link_of(d, number, &link);
	*out = link.version;
	return leave(code);
}

EXPORT result nvmlDeviceGetNvLinkErrorCounter(const struct device *d, unsigned number,
					      unsigned counter, unsigned long long *out)
{
	struct link link;
	ENTER(d, "nvmlDeviceGetNvLinkErrorCounter");
	result code = counter > 3 ? INVALID_ARGUMENT : link_of(d, number, &link);
	*out = code == SUCCESS ? link.errors[counter] : 0;
	return leave(code);
}

/* "fabric STATE STATUS": nvmlGpuFabricState_t, nvmlReturn_t */
struct fabric {
	unsigned version;
	unsigned char cluster[16];
	unsigned status, clique, state, health;
};

EXPORT result nvmlDeviceGetGpuFabricInfoV(const struct device *d, struct fabric *out)
{
	ENTER(d, "nvmlDeviceGetGpuFabricInfoV");
	const char *value = get(d->card, "fabric");
	if (!value)
		return leave(NOT_SUPPORTED);
	out->status = 0;
	return leave(sscanf(value, "%u %u", &out->state, &out->status) >= 1 ? SUCCESS : 999);
}

/* --- processes: "process PID KIND BYTES [GPU-INSTANCE COMPUTE-INSTANCE]" --------------------------
 *
 * PID is a number, or "@NAME": the process of that name (proc_pid_comm(5)) with the lowest id; while
 * there is none, the line is not there. */

struct process {
	unsigned pid;
	unsigned long long memory;
	unsigned gi, ci;
};

static result processes(const struct device *d, const char *function, char kind, unsigned *count,
			struct process *out)
{
	ENTER(d, function);
	unsigned found = 0, room = out ? *count : 0;
	const char *value;
	struct mig mig = {.gi = NO_INSTANCE};
	int part = mig_of(d, &mig);
	for (int i = 0; (value = nth(d->card, "process", i)); i++) {
		struct process one = {.gi = NO_INSTANCE, .ci = NO_INSTANCE};
		char pid_text[20], kinds[8], memory_text[32];
		int got = sscanf(value, "%19s %7s %31s %u %u", pid_text, kinds, memory_text, &one.gi,
				 &one.ci);
		if (got < 3 || !(one.pid = *pid_text == '@' ? pid_of_name(pid_text + 1)
							: (unsigned)strtoul(pid_text, NULL, 10)) || !strchr(kinds, kind) || (part && (one.gi != mig.gi || one.ci != mig.ci)))
			continue;
		/* "-": NVML_VALUE_NOT_AVAILABLE */
		one.memory = *memory_text == '-' ? ~0ull : strtoull(memory_text, NULL, 0);
		if (found < room)
			out[found] = one;
		found++;
	}
	*count = found;
	return leave(found > room ? INSUFFICIENT_SIZE : SUCCESS);
}

#define PROCESSES(function, kind)                                                              \
	EXPORT result function##_v3(const struct device *d, unsigned *count, struct process *out) \
	{                                                                                      \
		return processes(d, #function, kind, count, out);                              \
	}                                                                                      \
	EXPORT result function##_v2(const struct device *d, unsigned *count, struct process *out) \
	{                                                                                      \
		return processes(d, #function, kind, count, out);                              \
	}

PROCESSES(nvmlDeviceGetComputeRunningProcesses, 'C')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 'G')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 'M')

/* --- known, and not supported by these cards ------------------------------------------------------ */

/* The callers' further arguments are not looked at. */
#define UNSUPPORTED(function)                                                  \
	EXPORT result function(const struct device *d)                         \
	{                                                                      \
		ENTER(d, #function);                                           \
		return leave(NOT_SUPPORTED);                                   \
	}

UNSUPPORTED(nvmlDeviceGetAccountingMode)
UNSUPPORTED(nvmlDeviceGetApplicationsClock)
UNSUPPORTED(nvmlDeviceGetAttributes_v2)
UNSUPPORTED(nvmlDeviceGetBoardId)
UNSUPPORTED(nvmlDeviceGetDriverModel)
UNSUPPORTED(nvmlDeviceGetDriverModel_v2)
UNSUPPORTED(nvmlDeviceGetMemoryErrorCounter)
UNSUPPORTED(nvmlDeviceGetPcieThroughput)
UNSUPPORTED(nvmlDeviceGetProcessUtilization)
UNSUPPORTED(nvmlDeviceGetTotalEnergyConsumption)
UNSUPPORTED(nvmlDeviceGetVirtualizationMode)
