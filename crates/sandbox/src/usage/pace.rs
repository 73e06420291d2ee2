//! When to look at a run's memory again: before what is left below its limit can be full.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Duration;

use crate::limits::Bytes;

/// Not even the fastest program is looked at more often.
pub(crate) const SHORTEST: Duration = Duration::from_millis(5);

const LONGEST: Duration = Duration::from_millis(100);

/// What one CPU can take into use: 4 GiB/s. Machines do 0.5 to 3 GiB/s in pages of 4 KiB, and more in huge pages.
const FILLED_PER_CPU_AND_MS: u64 = 4 << 20;

/// The daemon's CPUs, and so its sandboxes'.
pub(crate) fn cpus() -> usize {
    static CPUS: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
    *CPUS
}

/// How long a run that has so much left cannot reach its limit.
pub(crate) fn until_full(room: Bytes) -> Duration {
    until_full_with(room, u64::try_from(cpus()).unwrap_or(u64::MAX))
}

fn until_full_with(room: Bytes, cpus: u64) -> Duration {
    let filled_per_ms = FILLED_PER_CPU_AND_MS.saturating_mul(cpus.max(1));
    Duration::from_millis(room.0 / filled_per_ms).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_is_left_the_sooner_is_the_next_look() {
        let ms = |room, cpus| until_full_with(Bytes::mib(room), cpus).as_millis();
        assert_eq!([ms(4096, 2), ms(512, 2), ms(256, 2), ms(64, 2), ms(0, 2)], [100, 64, 32, 8, 5]);
        assert_eq!([ms(512, 1), ms(512, 4), ms(512, 64)], [100, 32, 5]);
    }
}
