//! CPU time and memory of other processes, from /proc.

use std::fs;
use std::io;
use std::time::Duration;

/// In bytes. The first counts shared pages fully, the second proportionally.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub resident: u64,
    pub proportional: u64,
}

/// Returns the ids of a process and all its descendants.
pub fn family(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut at = 0;
    while let Some(id) = all.get(at) {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    all
}

/// Returns the CPU time of all threads, in nanosecond resolution.
pub fn cpu(family: &[u32]) -> io::Result<Duration> {
    let mut nanos = 0;
    for id in family {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            // The thread may have ended since the directory was read.
            let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += line.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(Duration::from_nanos(nanos))
}

pub fn memory(family: &[u32]) -> io::Result<Memory> {
    let mut memory = Memory::default();
    for id in family {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let figure = |name: &str| {
            let kilobytes =
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
            kilobytes.map_or(0, |kilobytes: u64| kilobytes * 1024)
        };
        memory.resident += figure("Rss:");
        memory.proportional += figure("Pss:");
    }
    Ok(memory)
}
