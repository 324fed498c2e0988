//! Metrics of the process, from proc(5). On a system without `/proc` they are absent.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The metrics that Prometheus's client libraries name `process_*`.
#[derive(Debug)]
pub(super) struct Process;

/// Clock ticks per second of `/proc/self/stat` (`USER_HZ`): 100 on every architecture that Linux supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the resident memory in bytes (`VmRSS`), or `None` without `/proc`.
pub fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Returns the number of open descriptors, without the one that reading the directory needs.
fn open_descriptors() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

fn descriptor_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// The CPU time in seconds, and the start in seconds since 1970.
struct Times {
    cpu: f64,
    started: f64,
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program in parentheses, which may contain spaces. `fields` begins with the
    // third.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let cpu = (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND;
    Some(Times { cpu, started: booted + ticks(22)? / TICKS_PER_SECOND })
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        for (name, help, unit, value) in [
            ("process_resident_memory", "Resident memory", bytes, resident_memory()),
            ("process_open_fds", "Open file descriptors", None, open_descriptors()),
            ("process_max_fds", "The limit of open file descriptors", None, descriptor_limit()),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::<u64>::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        if let Some(Times { cpu, started }) = times() {
            let counter = ConstCounter::<f64>::new(cpu);
            let help = "CPU time in user and system mode";
            counter.encode(encoder.encode_descriptor("process_cpu", help, seconds, counter.metric_type())?)?;
            let gauge = ConstGauge::<f64>::new(started);
            let help = "Start of the process since 1970";
            gauge.encode(encoder.encode_descriptor("process_start_time", help, seconds, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    #[test]
    #[cfg(target_os = "linux")]
    fn text_has_the_metrics_of_the_process() {
        let (_, text) = Metrics::new().render();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number");
            assert!(value >= 0.0);
            // Between 2020 and 2100.
            assert!(name != "process_start_time_seconds" || (1.58e9..4.1e9).contains(&value), "{value}");
        }
    }
}
