//! How long to wait before work is tried again.

/// The wait after work was first lost with its worker.
const FIRST_MS: u64 = 1_000;
/// The longest wait.
const LONGEST_MS: u64 = 60_000;

/// The wait before the next attempt of a step whose work was lost `losses` times before in a row:
/// 1 s doubling to 60 s, shortened by up to a fifth so that the steps of a dead worker do not all
/// come back at once. `jitter(bound)` gives a number below `bound`.
pub(crate) fn lost_work_delay_ms(losses: u32, jitter: impl Fn(u64) -> u64) -> u64 {
    let doubled = FIRST_MS.checked_shl(losses.min(16)).unwrap_or(LONGEST_MS);
    let whole = doubled.min(LONGEST_MS);
    whole - jitter(whole / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let waits: Vec<u64> = [0, 1, 2, 5, 6, 40].map(|n| lost_work_delay_ms(n, |_| 0)).to_vec();
        assert_eq!(waits, [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn jitter_only_shortens_and_by_a_fifth_at_most() {
        assert_eq!(lost_work_delay_ms(0, |bound| bound - 1), 800);
    }
}
