//! Frames on a stream, several a system call: what waits is read and written
//! together.
//!
//! Invariants: no more is allocated than one frame may hold and one read brings;
//! every byte that was read or written is wiped, because frames carry keys.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use zeroize::{Zeroize, Zeroizing};

use crate::protocol::{FRAME_BYTES_MAX, FrameError, HEADER_BYTES, LENGTH_BYTES};

/// What one read may bring: some dozen releases.
const READ_BYTES: usize = 16 << 10;
/// Frames that are put together for one write; larger ones are written as they are.
const WRITE_BYTES: usize = 16 << 10;

/// The reading end of a connection.
pub(crate) struct FrameReader<'a, R> {
    from: &'a mut R,
    /// Never grows, so that no copy of a key stays behind.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl<'a, R: AsyncRead + Unpin> FrameReader<'a, R> {
    pub fn new(from: &'a mut R) -> Self {
        Self { from, buffer: Zeroizing::new(vec![0; READ_BYTES]), start: 0, end: 0 }
    }

    /// The next frame without its length; nothing at the end of the stream.
    pub async fn next(
        &mut self,
    ) -> std::io::Result<Option<Result<Zeroizing<Vec<u8>>, FrameError>>> {
        let mut length = [0; LENGTH_BYTES];
        match self.fill(&mut length).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Ok(Some(Err(FrameError::TooLarge)));
        }
        if length < HEADER_BYTES {
            return Ok(Some(Err(FrameError::TooShort)));
        }
        let mut frame = Zeroizing::new(vec![0; length]);
        self.fill(&mut frame).await?;
        Ok(Some(Ok(frame)))
    }

    /// Fills `out` from what was read already, and from the stream.
    async fn fill(&mut self, out: &mut [u8]) -> std::io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            if self.start == self.end {
                if out.len() - done >= READ_BYTES {
                    self.from.read_exact(&mut out[done..]).await?;
                    return Ok(());
                }
                (self.start, self.end) = (0, self.from.read(&mut self.buffer).await?);
                if self.end == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            let some = (out.len() - done).min(self.end - self.start);
            let taken = &mut self.buffer[self.start..self.start + some];
            out[done..done + some].copy_from_slice(taken);
            taken.zeroize();
            self.start += some;
            done += some;
        }
        Ok(())
    }
}

/// Writes the frames of `queue` until it ends; an error when the stream did first.
pub(crate) async fn write_frames(
    to: &mut (impl AsyncWrite + Unpin),
    queue: &mut mpsc::Receiver<Zeroizing<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut together = Zeroizing::new(Vec::with_capacity(WRITE_BYTES));
    while let Some(frame) = queue.recv().await {
        let mut next = Some(frame);
        // Whoever is about to send as well gets the chance to.
        tokio::task::yield_now().await;
        while let Some(frame) = next {
            if together.len() + frame.len() > WRITE_BYTES {
                to.write_all(&together).await?;
                together.zeroize();
            }
            if frame.len() > WRITE_BYTES {
                to.write_all(&frame).await?;
            } else {
                together.extend_from_slice(&frame);
            }
            next = queue.try_recv().ok();
        }
        to.write_all(&together).await?;
        to.flush().await?;
        together.zeroize();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
        let mut bytes: &[u8] = &[0xff; 8];
        let frame = FrameReader::new(&mut bytes).next().await.expect("reads");
        assert_eq!(frame.expect("not the end").expect_err("refused"), FrameError::TooLarge);
        let mut none: &[u8] = &[];
        assert!(FrameReader::new(&mut none).next().await.expect("reads").is_none());
        let mut cut: &[u8] = &[0, 0, 0, 20, 1, 2];
        assert!(FrameReader::new(&mut cut).next().await.is_err(), "a frame that is cut off");
    }

    #[tokio::test]
    async fn frames_of_every_length_arrive_whole_and_in_order() {
        let lengths =
            [9, 10, 4_000, READ_BYTES - 4, READ_BYTES, READ_BYTES + 1, 300_000, 9, 70_000];
        let (mut here, mut there) = tokio::io::duplex(10_000);
        let (frames, mut queue) = mpsc::channel(64);
        for (number, length) in lengths.iter().enumerate() {
            let length = *length;
            let mut frame = Zeroizing::new(vec![number as u8; LENGTH_BYTES + length]);
            frame[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
            frames.send(frame).await.expect("room");
        }
        drop(frames);
        let writing = async {
            write_frames(&mut here, &mut queue).await.expect("writes");
            drop(here);
        };
        let reading = async {
            let mut reader = FrameReader::new(&mut there);
            for (number, length) in lengths.iter().enumerate() {
                let frame = reader.next().await.expect("reads").expect("a frame").expect("fits");
                assert_eq!(frame.len(), *length);
                assert!(frame.iter().all(|byte| *byte == number as u8), "frame {number}");
            }
            assert!(reader.next().await.expect("reads").is_none());
            assert!(reader.buffer.iter().all(|byte| *byte == 0), "what was read is wiped");
        };
        tokio::join!(writing, reading);
    }
}
