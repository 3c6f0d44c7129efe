//! Who tries passwords has to wait. Kept in memory, and read from the ledger's
//! refusals when the keeper starts, so that a restart frees nobody.

use std::collections::HashMap;

use holdfast_base::Timestamp;
use parking_lot::Mutex;

/// Wrong attempts before a name has to wait.
const ATTEMPTS_FREE: u32 = 5;
/// Wrong attempts before an address has to wait: a whole practice may share one.
const ATTEMPTS_FREE_ADDRESS: u32 = 20;
/// The wait doubles with each further wrong attempt, up to this.
pub(crate) const WAIT_MS_MAX: i64 = 15 * 60_000;
/// Names and addresses that are remembered; beyond it, those who need not wait
/// are let go.
const REMEMBERED_MAX: usize = 100_000;

#[derive(Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    not_before: Timestamp,
}

/// Wrong attempts, by name and by address.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    failures: HashMap<String, Failures>,
    latest: Timestamp,
}

impl Throttle {
    /// What an attempt counts under.
    pub fn keys(name: &str, address: Option<&str>) -> [String; 2] {
        [format!("name:{name}"), format!("address:{}", address.unwrap_or("-"))]
    }

    /// How long whoever has one of `keys` still has to wait. A clock that steps
    /// back makes nobody wait longer or shorter.
    pub fn wait_ms(&self, keys: &[String], now: Timestamp) -> i64 {
        let mut state = self.0.lock();
        state.latest = state.latest.max(now);
        let latest = state.latest;
        let waits = keys.iter().filter_map(|key| state.failures.get(key));
        waits.map(|f| f.not_before.millis_since(latest).max(0)).max().unwrap_or(0)
    }

    /// Counts a wrong attempt.
    pub fn failed(&self, keys: &[String], now: Timestamp) {
        let mut state = self.0.lock();
        state.latest = state.latest.max(now);
        let now = state.latest;
        if state.failures.len() >= REMEMBERED_MAX {
            let recent = |f: &Failures| now.millis_since(f.last) < WAIT_MS_MAX;
            state.failures.retain(|_, failures| recent(failures));
        }
        for key in keys {
            let free =
                if key.starts_with("address:") { ATTEMPTS_FREE_ADDRESS } else { ATTEMPTS_FREE };
            let failures = state.failures.entry(key.clone()).or_default();
            failures.count += 1;
            failures.last = now;
            if let Some(over) = failures.count.checked_sub(free) {
                let wait_ms = (1_000_i64 << over.min(20)).min(WAIT_MS_MAX);
                failures.not_before = now.plus_millis(wait_ms);
            }
        }
    }

    /// Forgets the wrong attempts of who has now shown the right secrets.
    pub fn succeeded(&self, keys: &[String]) {
        let mut state = self.0.lock();
        for key in keys {
            state.failures.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn the_sixth_attempt_waits_and_each_one_longer() {
        let throttle = Throttle::default();
        let keys = Throttle::keys("dr.okafor", Some("192.0.2.7"));
        let waits: Vec<i64> = (0..8)
            .map(|_| {
                throttle.failed(&keys, at(0));
                throttle.wait_ms(&keys, at(0))
            })
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(throttle.wait_ms(&Throttle::keys("dr.okafor", None), at(0)), 8_000);
        assert_eq!(throttle.wait_ms(&Throttle::keys("nurse.joy", Some("192.0.2.7")), at(0)), 0);
        throttle.succeeded(&keys);
        assert_eq!(throttle.wait_ms(&keys, at(0)), 0);
    }

    #[test]
    fn a_clock_that_steps_back_frees_nobody() {
        let throttle = Throttle::default();
        let keys = Throttle::keys("dr.okafor", None);
        (0..6).for_each(|_| throttle.failed(&keys, at(0)));
        assert_eq!(throttle.wait_ms(&keys, at(-9_000)), 2_000, "it is not earlier than it was");
        assert_eq!(throttle.wait_ms(&keys, at(3)), 0);
        assert_eq!(throttle.wait_ms(&keys, at(-3)), 0);
    }
}
