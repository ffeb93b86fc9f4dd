/* A program in the place of nvidia-smi for machines of the virtual lab: what the simulated NVML
 * library (nvml.c) says, in the form of `nvidia-smi -q -x` and `nvidia-smi -L`.
 *
 * There is no card and no driver behind it, and it says so: in its first line, in the name of each
 * card, in --version. It is one static program, so that it runs whatever libraries a machine has.
 *
 * Form: nvidia-smi(1) and the DTD nvsmi_device_v12 (names and order of the elements). Exit codes and
 * words where the driver as a whole or a card does not answer: nvidia-smi(1), "RETURN VALUE".
 */

#include <stdarg.h>

#include "nvml.c"

#define MIB (1ull << 20)

static void out(int depth, const char *tag, const char *form, ...)
{
	va_list list;
	char text[400];
	va_start(list, form);
	vsnprintf(text, sizeof text, form, list);
	va_end(list);
	printf("%*s<%s>", depth * 2, "", tag);
	for (const char *c = text; *c; c++) {
		if (*c == '<' || *c == '>' || *c == '&')
			printf("&#%d;", *c);
		else
			putchar(*c);
	}
	printf("</%s>\n", tag);
}

/* Why there is no value, as nvidia-smi prints it in its place. */
static const char *reason(result code)
{
	return code == NOT_SUPPORTED ? "N/A" : nvmlErrorString(code);
}

static void open_tag(int depth, const char *tag) { printf("%*s<%s>\n", depth * 2, "", tag); }
static void close_tag(int depth, const char *tag) { printf("%*s</%s>\n", depth * 2, "", tag); }

/* Print a number with its unit behind it, or why there is none. */
static void quantity(int depth, const char *tag, result code, unsigned value, const char *unit)
{
	if (code == SUCCESS)
		out(depth, tag, "%u%s", value, unit);
	else
		out(depth, tag, "%s", reason(code));
}

static void watts(int depth, const char *tag, result code, unsigned milliwatts)
{
	if (code == SUCCESS)
		out(depth, tag, "%u.%02u W", milliwatts / 1000, milliwatts % 1000 / 10);
	else
		out(depth, tag, "%s", reason(code));
}

static void mebibytes(int depth, const char *tag, result code, unsigned long long bytes)
{
	if (code == SUCCESS)
		out(depth, tag, "%llu MiB", bytes / MIB);
	else
		out(depth, tag, "%s", reason(code));
}

static void word(int depth, const char *tag, result code, unsigned value, const char *const *words,
		 unsigned count)
{
	if (code == SUCCESS)
		out(depth, tag, "%s", value < count ? words[value] : "Unknown Error");
	else
		out(depth, tag, "%s", reason(code));
}

static const char *const switches[] = {"Disabled", "Enabled"};
static const char *const answers[] = {"No", "Yes"};

typedef result (*ask_text)(const struct device *, char *, unsigned);
typedef result (*ask_number)(const struct device *, unsigned *);

static void text(int depth, const char *tag, const struct device *d, ask_text ask)
{
	char value[300];
	result code = ask(d, value, sizeof value);
	out(depth, tag, "%s", code == SUCCESS ? value : reason(code));
}

static void asked(int depth, const char *tag, const struct device *d, ask_number ask,
		  const char *unit)
{
	unsigned value = 0;
	result code = ask(d, &value);
	quantity(depth, tag, code, value, unit);
}

static void asked_word(int depth, const char *tag, const struct device *d, ask_number ask,
		       const char *const *words, unsigned count)
{
	unsigned value = 0;
	result code = ask(d, &value);
	word(depth, tag, code, value, words, count);
}

static void asked_watts(int depth, const char *tag, const struct device *d, ask_number ask)
{
	unsigned value = 0;
	result code = ask(d, &value);
	watts(depth, tag, code, value);
}

static void memory_section(int depth, const struct device *d)
{
	struct memory_v2 found = {0};
	result code = nvmlDeviceGetMemoryInfo_v2(d, &found);
	open_tag(depth, "fb_memory_usage");
	mebibytes(depth + 1, "total", code, found.total);
	mebibytes(depth + 1, "reserved", code, found.reserved);
	mebibytes(depth + 1, "used", code, found.used);
	mebibytes(depth + 1, "free", code, found.free);
	close_tag(depth, "fb_memory_usage");
}

static void mig_section(struct device *d)
{
	unsigned mode = 0, pending = 0;
	result code = nvmlDeviceGetMigMode(d, &mode, &pending);
	open_tag(2, "mig_mode");
	word(3, "current_mig", code, mode, switches, 2);
	word(3, "pending_mig", code, pending, switches, 2);
	close_tag(2, "mig_mode");
	if (code != SUCCESS || !mode) {
		out(2, "mig_devices", "None");
		return;
	}
	open_tag(2, "mig_devices");
	for (unsigned index = 0; index < MAX_MIG; index++) {
		struct device *part;
		unsigned gi = 0, ci = 0;
		if (nvmlDeviceGetMigDeviceHandleByIndex(d, index, &part) != SUCCESS)
			continue;
		nvmlDeviceGetGpuInstanceId(part, &gi);
		nvmlDeviceGetComputeInstanceId(part, &ci);
		open_tag(3, "mig_device");
		out(4, "index", "%u", index);
		text(4, "uuid", part, nvmlDeviceGetUUID);
		out(4, "gpu_instance_id", "%u", gi);
		out(4, "compute_instance_id", "%u", ci);
		memory_section(4, part);
		close_tag(3, "mig_device");
	}
	close_tag(2, "mig_devices");
}

static void pci_section(const struct device *d)
{
	struct pci_info pci;
	result code = nvmlDeviceGetPciInfo(d, &pci);
	open_tag(2, "pci");
	out(3, "pci_bus_id", "%s", code == SUCCESS ? pci.address : reason(code));
	open_tag(3, "pci_gpu_link_info");
	open_tag(4, "pcie_gen");
	asked(5, "max_link_gen", d, nvmlDeviceGetMaxPcieLinkGeneration, "");
	asked(5, "current_link_gen", d, nvmlDeviceGetCurrPcieLinkGeneration, "");
	close_tag(4, "pcie_gen");
	open_tag(4, "link_widths");
	asked(5, "max_link_width", d, nvmlDeviceGetMaxPcieLinkWidth, "x");
	asked(5, "current_link_width", d, nvmlDeviceGetCurrPcieLinkWidth, "x");
	close_tag(4, "link_widths");
	close_tag(3, "pci_gpu_link_info");
	asked(3, "replay_counter", d, nvmlDeviceGetPcieReplayCounter, "");
	close_tag(2, "pci");
}

static void reasons_section(const struct device *d)
{
	/* The bits of nvmlDeviceGetCurrentClocksEventReasons in their order (nvml.h). */
	static const char *const names[] = {
		"gpu_idle",	       "applications_clocks_setting", "sw_power_cap",
		"hw_slowdown",	       "sync_boost",		      "sw_thermal_slowdown",
		"hw_thermal_slowdown", "hw_power_brake_slowdown",     "display_clocks_setting",
	};
	unsigned long long bits = 0;
	result code = nvmlDeviceGetCurrentClocksEventReasons(d, &bits);
	if (code != SUCCESS) {
		out(2, "clocks_event_reasons", "%s", reason(code));
		return;
	}
	open_tag(2, "clocks_event_reasons");
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		char tag[80];
		snprintf(tag, sizeof tag, "clocks_event_reason_%s", names[i]);
		out(3, tag, "%s", bits >> i & 1 ? "Active" : "Not Active");
	}
	close_tag(2, "clocks_event_reasons");
}

static void errors_section(const struct device *d)
{
	static const char *const counters[] = {"volatile", "aggregate"};
	open_tag(2, "ecc_errors");
	for (unsigned counter = 0; counter < 2; counter++) {
		/* The library knows sums; they stand where errors of the memory do. */
		unsigned long long good = 0, bad = 0;
		result good_code = nvmlDeviceGetTotalEccErrors(d, 0, counter, &good);
		result bad_code = nvmlDeviceGetTotalEccErrors(d, 1, counter, &bad);
		open_tag(3, counters[counter]);
		quantity(4, "sram_correctable", good_code, 0, "");
		quantity(4, "sram_uncorrectable", bad_code, 0, "");
		quantity(4, "dram_correctable", good_code, (unsigned)good, "");
		quantity(4, "dram_uncorrectable", bad_code, (unsigned)bad, "");
		close_tag(3, counters[counter]);
	}
	close_tag(2, "ecc_errors");
}

static void retired(const char *tag, const struct device *d, unsigned cause)
{
	unsigned count = 0;
	result code = nvmlDeviceGetRetiredPages(d, cause, &count, NULL);
	open_tag(3, tag);
	quantity(4, "retired_count", code == INSUFFICIENT_SIZE ? SUCCESS : code, count, "");
	close_tag(3, tag);
}

static void rows_section(const struct device *d)
{
	unsigned good, bad, pending, failed;
	result code = nvmlDeviceGetRemappedRows(d, &good, &bad, &pending, &failed);
	open_tag(2, "retired_pages");
	retired("multiple_single_bit_retirement", d, 0);
	retired("double_bit_retirement", d, 1);
	asked_word(3, "pending_retirement", d, nvmlDeviceGetRetiredPagesPendingStatus, answers, 2);
	close_tag(2, "retired_pages");
	if (code != SUCCESS) {
		out(2, "remapped_rows", "%s", reason(code));
		return;
	}
	open_tag(2, "remapped_rows");
	out(3, "remapped_row_corr", "%u", good);
	out(3, "remapped_row_unc", "%u", bad);
	word(3, "remapped_row_pending", code, pending, answers, 2);
	word(3, "remapped_row_failure", code, failed, answers, 2);
	close_tag(2, "remapped_rows");
}

static void temperature_section(const struct device *d)
{
	unsigned value = 0;
	struct margin margin = {0};
	struct field field = {.id = 82}; /* NVML_FI_DEV_MEMORY_TEMP */
	result code;
	open_tag(2, "temperature");
	code = nvmlDeviceGetTemperature(d, 0, &value);
	quantity(3, "gpu_temp", code, value, " C");
	code = nvmlDeviceGetMarginTemperature(d, &margin);
	quantity(3, "gpu_temp_tlimit", code, (unsigned)margin.value, " C");
	code = nvmlDeviceGetTemperatureThreshold(d, 0, &value);
	quantity(3, "gpu_temp_max_threshold", code, value, " C");
	code = nvmlDeviceGetTemperatureThreshold(d, 1, &value);
	quantity(3, "gpu_temp_slow_threshold", code, value, " C");
	code = nvmlDeviceGetFieldValues(d, 1, &field);
	quantity(3, "memory_temp", code == SUCCESS ? field.code : code, field.value.number, " C");
	close_tag(2, "temperature");
}

static void power_section(const struct device *d)
{
	unsigned least = 0, most = 0;
	result code = nvmlDeviceGetPowerManagementLimitConstraints(d, &least, &most);
	open_tag(2, "gpu_power_readings");
	asked_watts(3, "power_draw", d, nvmlDeviceGetPowerUsage);
	asked_watts(3, "current_power_limit", d, nvmlDeviceGetEnforcedPowerLimit);
	asked_watts(3, "default_power_limit", d, nvmlDeviceGetPowerManagementDefaultLimit);
	watts(3, "max_power_limit", code, most);
	close_tag(2, "gpu_power_readings");
}

static void clocks_section(const char *tag, const struct device *d,
			   result (*ask)(const struct device *, unsigned, unsigned *))
{
	static const char *const names[] = {"graphics_clock", "sm_clock", "mem_clock", "video_clock"};
	open_tag(2, tag);
	for (unsigned kind = 0; kind < 4; kind++) {
		unsigned value = 0;
		result code = ask(d, kind, &value);
		quantity(3, names[kind], code, value, " MHz");
	}
	close_tag(2, tag);
}

static void instance_id(const char *tag, unsigned id)
{
	if (id == NO_INSTANCE)
		out(4, tag, "N/A");
	else
		out(4, tag, "%u", id);
}

static void process_section(const struct process *one, const char *kind)
{
	char name[256] = "[Not Found]";
	nvmlSystemGetProcessName(one->pid, name, sizeof name);
	open_tag(3, "process_info");
	instance_id("gpu_instance_id", one->gi);
	instance_id("compute_instance_id", one->ci);
	out(4, "pid", "%u", one->pid);
	out(4, "type", "%s", kind);
	out(4, "process_name", "%s", name);
	if (one->memory == ~0ull)
		out(4, "used_memory", "N/A");
	else
		out(4, "used_memory", "%llu MiB", one->memory / MIB);
	close_tag(3, "process_info");
}

static int has(const struct process *list, unsigned count, unsigned pid)
{
	for (unsigned i = 0; i < count; i++)
		if (list[i].pid == pid)
			return 1;
	return 0;
}

static void processes_section(const struct device *d)
{
	struct process computing[256], drawing[256];
	unsigned computes = 256, draws = 256;
	result code = nvmlDeviceGetComputeRunningProcesses_v3(d, &computes, computing);
	if (code != SUCCESS) {
		out(2, "processes", "%s", reason(code));
		return;
	}
	if (nvmlDeviceGetGraphicsRunningProcesses_v3(d, &draws, drawing) != SUCCESS)
		draws = 0;
	open_tag(2, "processes");
	for (unsigned i = 0; i < computes; i++)
		process_section(&computing[i], has(drawing, draws, computing[i].pid) ? "C+G" : "C");
	for (unsigned i = 0; i < draws; i++)
		if (!has(computing, computes, drawing[i].pid))
			process_section(&drawing[i], "G");
	close_tag(2, "processes");
}

static void card_section(struct device *d)
{
	static const char *const modes[] = {"Default", "Exclusive_Thread", "Prohibited",
					    "Exclusive_Process"};
	/* NVML_DEVICE_ARCH_* (nvml.h) */
	static const char *const architectures[] = {
		"Unknown Error", "Unknown Error", "Kepler", "Maxwell",	    "Pascal",	"Volta",
		"Turing",	 "Ampere",	  "Ada Lovelace", "Hopper", "Blackwell",
	};
	/* NVML_GPU_RECOVERY_ACTION_* (nvml.h) */
	static const char *const actions[] = {"None", "Reset", "Reboot", "Drain P2P",
					      "Drain and Reset"};
	struct utilisation use = {0};
	struct memory bar1 = {0};
	struct field recovery = {.id = 230}; /* NVML_FI_DEV_GET_GPU_RECOVERY_ACTION */
	unsigned value = 0, pending = 0, period = 0;
	result code;
	const char *address = get(d->card, "pci");

	printf("  <gpu id=\"%s\">\n", address ? address : "");
	text(2, "product_name", d, nvmlDeviceGetName);
	asked_word(2, "product_architecture", d, nvmlDeviceGetArchitecture, architectures, 11);
	asked_word(2, "display_active", d, nvmlDeviceGetDisplayActive, switches, 2);
	asked_word(2, "persistence_mode", d, nvmlDeviceGetPersistenceMode, switches, 2);
	mig_section(d);
	text(2, "serial", d, nvmlDeviceGetSerial);
	text(2, "uuid", d, nvmlDeviceGetUUID);
	asked(2, "minor_number", d, nvmlDeviceGetMinorNumber, "");
	text(2, "vbios_version", d, nvmlDeviceGetVbiosVersion);
	code = nvmlDeviceGetFieldValues(d, 1, &recovery);
	word(2, "gpu_recovery_action", code == SUCCESS ? recovery.code : code, recovery.value.number,
	     actions, 5);
	pci_section(d);
	asked(2, "fan_speed", d, nvmlDeviceGetFanSpeed, " %");
	code = nvmlDeviceGetPerformanceState(d, &value);
	if (code == SUCCESS)
		out(2, "performance_state", "P%u", value);
	else
		out(2, "performance_state", "%s", reason(code));
	reasons_section(d);
	memory_section(2, d);
	code = nvmlDeviceGetBAR1MemoryInfo(d, &bar1);
	open_tag(2, "bar1_memory_usage");
	mebibytes(3, "total", code, bar1.total);
	mebibytes(3, "used", code, bar1.used);
	close_tag(2, "bar1_memory_usage");
	asked_word(2, "compute_mode", d, nvmlDeviceGetComputeMode, modes, 4);
	code = nvmlDeviceGetUtilizationRates(d, &use);
	open_tag(2, "utilization");
	quantity(3, "gpu_util", code, use.gpu, " %");
	quantity(3, "memory_util", code, use.memory, " %");
	code = nvmlDeviceGetEncoderUtilization(d, &value, &period);
	quantity(3, "encoder_util", code, value, " %");
	code = nvmlDeviceGetDecoderUtilization(d, &value, &period);
	quantity(3, "decoder_util", code, value, " %");
	close_tag(2, "utilization");
	code = nvmlDeviceGetEccMode(d, &value, &pending);
	open_tag(2, "ecc_mode");
	word(3, "current_ecc", code, value, switches, 2);
	word(3, "pending_ecc", code, pending, switches, 2);
	close_tag(2, "ecc_mode");
	errors_section(d);
	rows_section(d);
	temperature_section(d);
	power_section(d);
	clocks_section("clocks", d, nvmlDeviceGetClockInfo);
	clocks_section("max_clocks", d, nvmlDeviceGetMaxClockInfo);
	processes_section(d);
	printf("  </gpu>\n");
	fflush(stdout); /* what hangs takes only what follows it */
}

static int failed(result code)
{
	if (code == 9)
		printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
		       "Make sure that the latest NVIDIA driver is installed and running.\n");
	else
		printf("Failed to initialize NVML: %s\n", nvmlErrorString(code));
	return code & 0xff;
}

int main(int count, char **words)
{
	int query = 0, xml = 0, list = 0;
	for (int i = 1; i < count; i++) {
		if (!strcmp(words[i], "-q"))
			query = 1;
		else if (!strcmp(words[i], "-x"))
			xml = 1;
		else if (!strcmp(words[i], "-L"))
			list = 1;
		else if (!strcmp(words[i], "--version") || !strcmp(words[i], "-h")) {
			printf("simulated nvidia-smi of labctl's virtual lab (no card, no driver): "
			       "nvidia-smi -q -x, nvidia-smi -L\n");
			return 0;
		} else
			query = xml = list = 2;
	}
	if (!(list == 1) && !(query == 1 && xml == 1)) {
		fprintf(stderr, "this nvidia-smi is simulated, and knows -q -x and -L\n");
		return 2;
	}
	result code = nvmlInit_v2();
	if (code != SUCCESS)
		return failed(code);
	char driver[80] = "";
	int cuda = 0, status = 0;
	unsigned cards = 0;
	nvmlSystemGetDriverVersion(driver, sizeof driver);
	nvmlSystemGetCudaDriverVersion(&cuda);
	nvmlDeviceGetCount(&cards);
	struct device *found[MAX_CARDS];
	for (unsigned i = 0; i < cards; i++) {
		const char *address = get((int)i, "pci");
		code = nvmlDeviceGetHandleByIndex(i, &found[i]);
		if (code == SUCCESS)
			continue;
		found[i] = NULL;
		status = code & 0xff;
		printf("Unable to determine the device handle for GPU%u: %s: %s.\n", i,
		       address ? address : "?", nvmlErrorString(code));
	}
	if (list) {
		for (unsigned i = 0; i < cards; i++) {
			char name[300] = "?", uuid[100] = "?";
			if (!found[i])
				continue;
			nvmlDeviceGetName(found[i], name, sizeof name);
			nvmlDeviceGetUUID(found[i], uuid, sizeof uuid);
			printf("GPU %u: %s (UUID: %s)\n", i, name, uuid);
		}
		return status;
	}
	printf("<?xml version=\"1.0\" ?>\n"
	       "<!-- simulated by labctl's virtual lab: there is no card and no driver -->\n"
	       "<nvidia_smi_log>\n");
	out(1, "driver_version", "%s", driver);
	if (cuda)
		out(1, "cuda_version", "%d.%d", cuda / 1000, cuda % 1000 / 10);
	out(1, "attached_gpus", "%u", cards);
	for (unsigned i = 0; i < cards; i++)
		if (found[i])
			card_section(found[i]);
	printf("</nvidia_smi_log>\n");
	return status;
}
