//! The bytes of a file, as pages: what was never written costs nothing.

use std::collections::BTreeMap;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// Zeros where nothing was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    length: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Pages {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut pages = Self::default();
        for (number, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            if chunk != &ZEROS[..chunk.len()] {
                pages.write(number as u64 * PAGE, chunk);
            }
        }
        pages.length = bytes.len() as u64;
        pages
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let within = (at % PAGE) as usize;
            let (now, later) = rest.split_at(rest.len().min(PAGE as usize - within));
            let page = self.pages.entry(at / PAGE).or_insert_with(|| ZEROS.to_vec());
            page[within..within + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
        self.length = self.length.max(at);
    }

    pub(crate) fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.pages.retain(|number, _| number * PAGE < length);
            if let Some(page) = self.pages.get_mut(&(length / PAGE)) {
                page[(length % PAGE) as usize..].fill(0);
            }
        }
        self.length = length;
    }

    /// Where something was written, and what.
    pub(crate) fn written(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(number, page)| {
            let at = number * PAGE;
            let here = (self.length - at).min(PAGE) as usize;
            (at, &page[..here])
        })
    }

    /// Whether it reads the same as `other`.
    pub(crate) fn reads_as(&self, other: &Self) -> bool {
        let mut numbers: Vec<_> = self.pages.keys().chain(other.pages.keys()).collect();
        numbers.dedup();
        let page = |of: &'_ Self, number: &u64| of.pages.get(number).cloned();
        self.length == other.length
            && numbers.into_iter().all(|number| {
                page(self, number).unwrap_or_else(|| ZEROS.to_vec())
                    == page(other, number).unwrap_or_else(|| ZEROS.to_vec())
            })
    }
}

const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_read_as_the_bytes_that_were_written_and_cut() {
        let mut plain = Vec::new();
        let mut pages = Pages::default();
        let writes: [(usize, &[u8]); 4] =
            [(0, &[1; 5000]), (4090, &[2; 12]), (20_000, &[3; 9000]), (8190, &[4; 5])];
        for (at, bytes) in writes {
            plain.resize(plain.len().max(at + bytes.len()), 0);
            plain[at..at + bytes.len()].copy_from_slice(bytes);
            pages.write(at as u64, bytes);
            assert!(pages.reads_as(&Pages::of(&plain)));
        }
        for length in [28_000, 20_100, 4091, 30_000, 0] {
            plain.resize(length, 0);
            pages.set_length(length as u64);
            assert!(pages.reads_as(&Pages::of(&plain)), "{length}");
            assert!(!pages.reads_as(&Pages::of(&[&plain[..], &[0]].concat())));
        }
    }
}
