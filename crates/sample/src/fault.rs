//! Damage on purpose, for those who want to see refusals.

use crate::community::Channel;
use crate::dice::Dice;
use crate::stream::{Item, Options};

/// Damages about `faults_per_mille` of the items and says so in them.
pub(crate) fn damage(items: &mut [Item], options: &Options) {
    let mut dice = Dice::new(options.seed, 0x4000_0000);
    for item in items {
        if dice.below(1000) >= options.faults_per_mille as usize {
            continue;
        }
        let half = item.bytes.len() / 2;
        item.fault = Some(match (item.channel, dice.below(3)) {
            (Channel::Hl7v2, 0) => {
                item.bytes.drain(..4);
                "header-missing"
            }
            (Channel::Hl7v2, 1) => {
                drop_segment(&mut item.bytes, b"PID|");
                "patient-missing"
            }
            (Channel::Hl7v2, _) => {
                drop_segment(&mut item.bytes, b"EVN|");
                drop_segment(&mut item.bytes, b"PV1|");
                drop_segment(&mut item.bytes, b"PID|");
                "segments-missing"
            }
            _ => {
                item.bytes.truncate(half);
                "truncated"
            }
        });
    }
}

/// Removes the first segment that starts with `name`, if there is one.
fn drop_segment(bytes: &mut Vec<u8>, name: &[u8]) {
    let kept: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\r').collect();
    if let Some(place) = kept.iter().position(|segment| segment.starts_with(name)) {
        let rest: Vec<u8> = kept
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != place)
            .flat_map(|(_, s)| s.iter().copied())
            .collect();
        *bytes = rest;
    }
}
