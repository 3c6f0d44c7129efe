//! HL7 v2 over MLLP (HL7 v2 Transport, MLLP Release 1) with TLS and client
//! certificates.
//!
//! Invariants: messages of a connection are admitted one after the other, in their
//! order; a message is acknowledged with AA only when it is durable; what is not
//! understood is answered, never dropped in silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{Clock, RequestId};
use holdfast_exchange::hl7v2::{AckCode, Problem, acknowledge};
use holdfast_exchange::{Ask, Caller, Exchange, ExchangeError, Format, mllp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::ack::{self, Reply};
use crate::caller::Peer;
use crate::error::chain;
use crate::http::HANDSHAKE_TIMEOUT;
use crate::serve::Stop;
use crate::tls::fingerprint;

/// A connection that is silent for so long is closed; senders open a new one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A frame that stops in its middle for so long will not go on.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which a message that only lacks its last carriage return is taken:
/// some senders never send one.
const RETURN_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for a sender that does not take its acknowledgement.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Serves one connection.
pub(crate) async fn serve(
    tls: TlsAcceptor,
    exchange: Arc<Exchange>,
    clock: Arc<dyn Clock>,
    stream: TcpStream,
    at: SocketAddr,
    stop: Stop,
) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer::new(at.ip(), certificate.map(|certificate| fingerprint(certificate)));
    let caller = peer.system(&exchange).await;
    if let Ok(caller) = &caller {
        tracing::info!(principal = %caller.id(), session = %caller.session(), "MLLP opened");
    }
    Connection { stream, exchange, clock, caller, stop }.run().await;
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

struct Connection {
    stream: TlsStream,
    exchange: Arc<Exchange>,
    clock: Arc<dyn Clock>,
    /// Who sends; a certificate that nobody has is told so at its first message.
    caller: Result<Caller, ExchangeError>,
    stop: Stop,
}

impl Connection {
    async fn run(mut self) {
        let mut decoder = mllp::Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            while let Some(decoded) = decoder.next() {
                let reply = match decoded {
                    Ok(message) => self.take(&message).await,
                    Err(error) => self.framing(error),
                };
                if !self.send(reply).await {
                    return;
                }
            }
            if self.stop.has_come() {
                break;
            }
            match self.read(&mut buffer, decoder.unfinished_bytes_count() > 0).await {
                Read::Bytes(count) => decoder.feed(buffer.get(..count).unwrap_or_default()),
                Read::Silence => {
                    if let Some(message) = decoder.next_without_return() {
                        let reply = self.take(&message).await;
                        if !self.send(reply).await {
                            return;
                        }
                    } else if !self.waits_for_the_rest(&mut buffer, &mut decoder).await {
                        break;
                    }
                }
                Read::End => break,
            }
        }
        let unfinished_bytes = decoder.unfinished_bytes_count();
        if unfinished_bytes > 0 {
            tracing::warn!(
                unfinished_bytes,
                "MLLP closed within a message; the sender will repeat it"
            );
        }
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.stream.shutdown()).await;
    }

    /// Reads once. `begun`: a frame has begun, so silence means something.
    async fn read(&mut self, buffer: &mut [u8], begun: bool) -> Read {
        let patience = if begun { RETURN_TIMEOUT } else { IDLE_TIMEOUT };
        tokio::select! {
            // A stop between messages is a good moment; within one it waits.
            () = self.stop.comes(), if !begun => Read::End,
            read = tokio::time::timeout(patience, self.stream.read(buffer)) => match read {
                Ok(Ok(0) | Err(_)) => Read::End,
                Ok(Ok(count)) => Read::Bytes(count),
                Err(_) if begun => Read::Silence,
                Err(_) => Read::End,
            },
        }
    }

    /// Waits longer for a frame that has stopped in its middle.
    async fn waits_for_the_rest(&mut self, buffer: &mut [u8], decoder: &mut mllp::Decoder) -> bool {
        match tokio::time::timeout(FRAME_TIMEOUT, self.stream.read(buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                decoder.feed(buffer.get(..count).unwrap_or_default());
                true
            }
            _ => false,
        }
    }

    /// Admits one message.
    async fn take(&mut self, message: &[u8]) -> Outgoing {
        let reply = match &self.caller {
            Ok(caller) => {
                let ask = Ask::new(caller.clone());
                let admitted =
                    self.exchange.admit(&ask, caller.organization(), Format::Hl7v2, message).await;
                match &admitted {
                    Ok(admission) => tracing::info!(
                        principal = %caller.id(), request = %ask.request, message = %admission.message,
                        outcome = admission.outcome.as_str(), "message"
                    ),
                    Err(error) => tracing::error!(
                        principal = %caller.id(), request = %ask.request, cause = chain(error),
                        "a message was not kept"
                    ),
                }
                ack::reply_to(&admitted)
            }
            Err(error) => Reply { closes: true, ..ack::reply_to_error(error) },
        };
        Outgoing {
            bytes: self.acknowledgement(message, reply.code, &reply.problems),
            closes: reply.closes,
        }
    }

    /// Bytes that are no message: nobody knows whose they are, so the answer has no
    /// control id; the connection goes on.
    fn framing(&self, error: mllp::FramingError) -> Outgoing {
        tracing::warn!(error = %error, "MLLP framing");
        let problem = Problem::whole(ack::CODE_SEQUENCE, error.to_string());
        Outgoing { bytes: self.acknowledgement(b"", AckCode::AR, &[problem]), closes: false }
    }

    fn acknowledgement(&self, message: &[u8], code: AckCode, problems: &[Problem]) -> Vec<u8> {
        // MSH-10 of an acknowledgement only has to be unique; 20 characters fit
        // every version of the standard.
        let control_id: String = RequestId::random().to_string().chars().take(20).collect();
        mllp::frame(&acknowledge(message, code, problems, &control_id, self.clock.now()))
    }

    /// Sends; whether the connection goes on.
    async fn send(&mut self, outgoing: Outgoing) -> bool {
        let writing = async {
            self.stream.write_all(&outgoing.bytes).await?;
            self.stream.flush().await
        };
        let written = tokio::time::timeout(WRITE_TIMEOUT, writing).await;
        if outgoing.closes {
            let _ = tokio::time::timeout(WRITE_TIMEOUT, self.stream.shutdown()).await;
        }
        matches!(written, Ok(Ok(()))) && !outgoing.closes
    }
}

/// What a read came to.
enum Read {
    Bytes(usize),
    Silence,
    End,
}

/// An acknowledgement on its way.
struct Outgoing {
    bytes: Vec<u8>,
    closes: bool,
}
