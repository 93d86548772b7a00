//! The task sizes that Fargate offers (Amazon ECS Developer Guide, "Fargate task definition considerations").

/// The CPU units.
pub(crate) const CPUS: [u32; 7] = [256, 512, 1024, 2048, 4096, 8192, 16_384];

const GIB: u32 = 1024;

/// The memory sizes, in MiB, that Fargate offers for these CPU units; none if it does not offer the CPU units.
pub(crate) fn memories(cpu: u32) -> Vec<u32> {
    let (least, most, step) = match cpu {
        256 => return vec![GIB / 2, GIB, 2 * GIB],
        512 => (1, 4, 1),
        1024 => (2, 8, 1),
        2048 => (4, 16, 1),
        4096 => (8, 30, 1),
        8192 => (16, 60, 4),
        16_384 => (32, 120, 8),
        _ => return Vec::new(),
    };
    (least..=most).step_by(step).map(|gib| gib * GIB).collect()
}

/// The smallest memory size, in MiB, for these CPU units: the default.
pub(crate) fn smallest_memory(cpu: u32) -> Option<u32> {
    memories(cpu).first().copied()
}

/// The memory sizes for these CPU units, in words.
pub(crate) fn memories_in_words(cpu: u32) -> String {
    let sizes = memories(cpu);
    match sizes[..] {
        [first, second, .., last] if sizes.len() > 8 => {
            format!("{first} to {last} in steps of {} (MiB)", second - first)
        }
        _ => format!("{} (MiB)", in_words(&sizes)),
    }
}

/// `1, 2 or 3`.
pub(crate) fn in_words<T: ToString>(values: &[T]) -> String {
    let mut words: Vec<String> = values.iter().map(ToString::to_string).collect();
    match (words.pop(), words.is_empty()) {
        (None, _) => String::new(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
    }
}
