//! What the operating system tells about a process, where there is a `/proc`.

use std::time::Duration;

/// Linux reports processor time to user space in ticks of this many a second, on every machine.
const TICKS_PER_SECOND: u64 = 100;

/// The processor time a process has used, of its own and in the system for it.
pub fn cpu_time(process: u32) -> Option<Duration> {
    parse_cpu_time(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The most memory a process ever had resident, in bytes.
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    parse_memory(&status, "VmHWM:")
}

/// The memory a process has resident, in bytes.
pub fn resident_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    parse_memory(&status, "VmRSS:")
}

/// How many files and sockets a process has open.
pub fn open_files(process: u32) -> Option<u64> {
    Some(std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64)
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses, which may itself hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

fn parse_memory(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system_together() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 4 0 9 1 2";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(parse_cpu_time("7 (cut"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_memory(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse_memory(status, "VmRSS:"), Some(1 << 10));
        assert_eq!(parse_memory("Name:\tx\n", "VmRSS:"), None);
    }
}
