#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod disk;
mod image;
mod pages;
pub mod record;
mod replay;
mod trace;

pub use disk::Disk;
pub use image::{Data, Image, Loss, Names};
pub use replay::{Replay, Step};

/// Numbers that look random and come again with the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts anew.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..count`; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut next = self.0;
        next = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        next = (next ^ (next >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        next ^= next >> 31;
        if count == 0 { 0 } else { (next % count as u64) as usize }
    }
}
