//! How much memory this process may still take.

use std::fs;
use std::path::Path;

/// What is assumed where the system does not tell.
const UNKNOWN: usize = 4 << 30;

/// Bytes that this process may still take, about: what the system has to give, within the limits of
/// its control groups (its own and all around it, as Slurm and systemd nest them) and of its address
/// space.
#[must_use]
pub fn available_memory() -> usize {
    let free = meminfo().unwrap_or(UNKNOWN);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let left = left_of_groups(&groups, Path::new("/sys/fs/cgroup"));
    left.chain(address_space()).fold(free, usize::min)
}

/// Bytes as plans and refusals tell them.
#[must_use]
pub fn megabytes(bytes: usize) -> usize {
    bytes.div_ceil(1_000_000)
}

/// What the control groups of a process, as `/proc/self/cgroup` names them, leave where they set limits.
fn left_of_groups(groups: &str, root: &Path) -> impl Iterator<Item = usize> {
    // Version 2 has one line, with nothing between the colons; version 1 has a line for memory.
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        match kinds {
            "" => Some((root.to_owned(), path.to_owned(), VERSION_2)),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                Some((root.join("memory"), path.to_owned(), VERSION_1))
            }
            _ => None,
        }
    };
    let mut left = Vec::new();
    for (root, path, names) in groups.lines().filter_map(of_line) {
        let own = root.join(path);
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
        left.extend(around.filter_map(|folder| left_of(folder, names)));
    }
    left.into_iter()
}

/// The files of a limit, of what is used, and of what that is used for; in the last the line of what the
/// system takes back when it is wanted.
type Names = [&'static str; 4];
const VERSION_2: Names = ["memory.max", "memory.current", "memory.stat", "inactive_file "];
const VERSION_1: Names =
    ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file "];

/// What one group leaves; none where it sets no limit.
fn left_of(folder: &Path, [limit, used, stat, taken_back]: Names) -> Option<usize> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let (limit, used) = (number(&read(limit)?)?, number(&read(used)?)?);
    let stat = read(stat).unwrap_or_default();
    let pages = stat.lines().find_map(|line| line.strip_prefix(taken_back)).and_then(number);
    Some(limit.saturating_sub(used.saturating_sub(pages.unwrap_or(0))))
}

fn meminfo() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
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

    #[test]
    fn the_narrowest_of_nested_groups_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |group: &str, files: &[(&str, &str)]| {
            let group = folder.path().join(group);
            fs::create_dir_all(&group).unwrap();
            files.iter().for_each(|(name, text)| fs::write(group.join(name), text).unwrap());
        };
        let least = |groups: &str| left_of_groups(groups, folder.path()).min();
        assert_eq!(least("0::/slurm/job/step\n"), None, "no limit at all");
        write("slurm", &[("memory.max", "max\n"), ("memory.current", "900\n")]);
        write("slurm/job", &[("memory.max", "1000\n"), ("memory.current", "700\n")]);
        write("slurm/job/step", &[("memory.max", "5000\n"), ("memory.current", "600\n")]);
        assert_eq!(least("0::/slurm/job/step\n"), Some(300), "the job's");
        // What files have in memory is given back.
        write("slurm/job", &[("memory.stat", "anon 5\ninactive_file 250\nactive_file 9\n")]);
        assert_eq!(least("0::/slurm/job/step\n"), Some(550));
        assert_eq!(least("0::/slurm\n"), None);

        write("memory/a", &[("memory.limit_in_bytes", "80"), ("memory.usage_in_bytes", "50")]);
        write("memory/a/b", &[("memory.stat", "inactive_file 9\n")]);
        assert_eq!(least("4:cpu,cpuacct:/a/b\n7:memory:/a/b\n"), Some(30));
        assert_eq!(least("4:cpu,cpuacct:/a/b\n"), None);
    }
}
