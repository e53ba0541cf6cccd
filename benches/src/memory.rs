//! Resident memory of this process, from Linux's /proc: what a thousand open
//! streams are divided into.

/// Resident memory in KiB.
pub fn resident_kib() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| std::io::Error::other("no VmRSS"))
}
