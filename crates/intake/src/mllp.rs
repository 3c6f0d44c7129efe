//! MLLP framing (HL7 v2 Transport Specification: MLLP, Release 1): a message is
//! sent as `<VT> message <FS><CR>`. No I/O: bytes in, messages out.
//!
//! Invariants: never holds more than one frame's bound and what was fed last;
//! every byte between frames is counted in an error, none disappears in silence.

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const RETURN: u8 = 0x0D;

/// Longest message taken by default: a scanned report in Base64 fits, and a
/// connection cannot be made to hold more.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is wrong with the bytes between two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Bytes outside any frame; they were passed over.
    #[error("{bytes_count} bytes between frames")]
    Junk {
        /// How many.
        bytes_count: usize,
    },
    /// The frame is longer than the bound; it was passed over.
    #[error("a frame longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// A new frame began before the last one ended; the last one is lost.
    #[error("a frame of {bytes_count} bytes was not ended")]
    NotEnded {
        /// How many bytes of it there were.
        bytes_count: usize,
    },
}

impl FramingError {
    /// Whose fault: always the sender's.
    pub fn category(self) -> holdfast_base::Category {
        holdfast_base::Category::Incorrect
    }
}

/// Takes bytes as they come and gives messages as they are whole.
pub struct Decoder {
    frame_bytes_max: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been given out.
    taken: usize,
    /// Bytes of the present frame that hold no end mark.
    scanned: usize,
    /// Whether the rest of a frame that is too long is being passed over.
    passing_over: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({} bytes held)", self.buffer.len() - self.taken)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(FRAME_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that takes messages of at most `frame_bytes_max` bytes.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, buffer: Vec::new(), taken: 0, scanned: 0, passing_over: false }
    }

    /// Takes the bytes that came. Call [`next`](Self::next) until it gives
    /// `None` before feeding again.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or what was wrong before it; `None`: more bytes
    /// are wanted.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Result<Vec<u8>, FramingError>> {
        loop {
            let held = self.buffer.get(self.taken..).unwrap_or_default();
            if self.passing_over {
                // Up to the end mark, or to the start of the next frame.
                match held.iter().position(|byte| matches!(*byte, END | START)) {
                    Some(place) if held.get(place) == Some(&START) => self.drop_held(place),
                    Some(place) => self.drop_held(place + 1),
                    None => {
                        self.drop_held(held.len());
                        return None;
                    }
                }
                self.passing_over = false;
                continue;
            }
            let stray = held.iter().position(|byte| *byte == START).unwrap_or(held.len());
            if stray > 0 {
                let bytes_count = held.iter().take(stray).filter(|byte| !is_filler(**byte)).count();
                self.drop_held(stray);
                if bytes_count > 0 {
                    return Some(Err(FramingError::Junk { bytes_count }));
                }
                continue;
            }
            return if held.is_empty() { None } else { self.frame() };
        }
    }

    /// The frame that is whole but for the carriage return after its end mark:
    /// some senders never send one. To be called when a connection falls silent.
    pub fn next_without_return(&mut self) -> Option<Vec<u8>> {
        let held = self.buffer.get(self.taken..).unwrap_or_default();
        let message = held.strip_prefix(&[START])?.strip_suffix(&[END])?.to_vec();
        self.drop_held(held.len());
        Some(message)
    }

    /// Bytes of a frame that has begun and not ended; to be asked when the
    /// connection closes.
    pub fn unfinished_bytes_count(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// `held` starts with the start mark.
    fn frame(&mut self) -> Option<Result<Vec<u8>, FramingError>> {
        let body = self.buffer.get(self.taken + 1..).unwrap_or_default();
        let mut from = self.scanned;
        loop {
            let rest = body.get(from..).unwrap_or_default();
            let Some(mark) = rest.iter().position(|byte| matches!(*byte, END | START)) else {
                let length = body.len();
                self.scanned = length;
                return self.bounded(length);
            };
            let place = from + mark;
            if place > self.frame_bytes_max {
                return self.bounded(place);
            }
            if body.get(place) == Some(&START) {
                self.drop_held(place + 1);
                return Some(Err(FramingError::NotEnded { bytes_count: place }));
            }
            match body.get(place + 1) {
                // The end mark may be a byte of the message only where it is not
                // followed by what may follow a frame.
                Some(&(RETURN | b'\n' | START)) => {
                    let message = body.get(..place).unwrap_or_default().to_vec();
                    let ended_by_return = body.get(place + 1) != Some(&START);
                    self.drop_held(place + 2 + usize::from(ended_by_return));
                    return Some(Ok(message));
                }
                Some(_) => from = place + 1,
                None => {
                    self.scanned = place;
                    return None;
                }
            }
        }
    }

    fn bounded(&mut self, length: usize) -> Option<Result<Vec<u8>, FramingError>> {
        if length <= self.frame_bytes_max {
            return None;
        }
        // The start mark itself must not stop the passing over.
        self.drop_held(1);
        self.passing_over = true;
        Some(Err(FramingError::TooLong { bytes_max: self.frame_bytes_max }))
    }

    fn drop_held(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.buffer.len());
        self.scanned = 0;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
    }
}

/// Line ends and spaces between frames are nobody's message.
fn is_filler(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

/// `message` in a frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 3);
    framed.push(START);
    framed.extend_from_slice(message);
    framed.extend_from_slice(&[END, RETURN]);
    framed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<Result<Vec<u8>, FramingError>> {
        std::iter::from_fn(|| decoder.next()).collect()
    }

    fn decoded(bytes: &[u8]) -> Vec<Result<Vec<u8>, FramingError>> {
        let mut decoder = Decoder::new(64);
        decoder.feed(bytes);
        all(&mut decoder)
    }

    #[test]
    fn frames_come_out_whole_and_junk_is_told() {
        assert_eq!(decoded(b"\x0Ba\x1C\r\x0Bb\x1C\r"), [Ok(b"a".to_vec()), Ok(b"b".to_vec())]);
        assert_eq!(
            decoded(b"xy\x0Ba\x1C\r\r\nz\x0Bb\x1C\r"),
            [
                Err(FramingError::Junk { bytes_count: 2 }),
                Ok(b"a".to_vec()),
                Err(FramingError::Junk { bytes_count: 1 }),
                Ok(b"b".to_vec()),
            ]
        );
    }

    #[test]
    fn an_end_without_a_return_is_understood() {
        assert_eq!(decoded(b"\x0Ba\x1C\x0Bb\x1C\r"), [Ok(b"a".to_vec()), Ok(b"b".to_vec())]);
        let mut decoder = Decoder::default();
        decoder.feed(b"\x0Ba\x1C");
        assert_eq!(decoder.next(), None);
        assert_eq!(decoder.next_without_return(), Some(b"a".to_vec()));
        assert_eq!(decoder.unfinished_bytes_count(), 0);
    }

    #[test]
    fn a_frame_that_does_not_end_costs_only_itself() {
        assert_eq!(
            decoded(b"\x0Babc\x0Bd\x1C\r"),
            [Err(FramingError::NotEnded { bytes_count: 3 }), Ok(b"d".to_vec())]
        );
        let mut long = vec![START];
        long.extend_from_slice(&[b'a'; 100]);
        long.extend_from_slice(b"\x1C\r\x0Bd\x1C\r");
        assert_eq!(
            decoded(&long),
            [Err(FramingError::TooLong { bytes_max: 64 }), Ok(b"d".to_vec())]
        );
    }

    #[test]
    fn a_decoder_never_holds_more_than_its_bound_and_one_read() {
        let mut decoder = Decoder::new(64);
        decoder.feed(&[START]);
        for _ in 0..100 {
            decoder.feed(&[b'a'; 50]);
            while decoder.next().is_some() {}
            assert!(decoder.unfinished_bytes_count() <= 64 + 51);
        }
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_stream_gives_the_same_messages(
            messages in proptest::collection::vec(proptest::collection::vec(0x20u8..0x7F, 0..40), 0..6),
            cut in 1usize..7,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let mut decoder = Decoder::new(64);
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                seen.extend(all(&mut decoder).into_iter().map(|got| got.expect("a message")));
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_loop(bytes: Vec<u8>, cut in 1usize..9) {
            let mut decoder = Decoder::new(8);
            for piece in bytes.chunks(cut) {
                decoder.feed(piece);
                prop_assert!(all(&mut decoder).len() <= piece.len() + 2);
            }
        }
    }
}
