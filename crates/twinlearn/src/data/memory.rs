//! How much memory this process may still take.

use std::fs;

/// What is assumed where the system does not tell.
const UNKNOWN: usize = 4 << 30;

/// Bytes that this process may still take, about: what the system has to give, within the limits of
/// its control group and of its address space.
#[must_use]
pub fn available_memory() -> usize {
    let free = meminfo().unwrap_or(UNKNOWN);
    [
        group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        group(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
        address_space(),
    ]
    .into_iter()
    .flatten()
    .fold(free, usize::min)
}

fn meminfo() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// What a control group leaves; none where it sets no limit.
fn group(limit: &str, used: &str) -> Option<usize> {
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    Some(number(limit)?.saturating_sub(number(used)?))
}

/// What `ulimit -v` leaves; none where it sets no limit.
fn address_space() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: usize = line.split_whitespace().next()?.parse().ok()?;
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(pages.saturating_mul(4096)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_memory_is_left() {
        assert!(available_memory() > 1 << 20);
    }
}
