//! Binding, accepting, stopping.
//!
//! Invariants: either every door is bound or none is served; a connection that is
//! being answered when the stop comes is answered, within [`FINISH_TIMEOUT`].

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{Category, Clock};
use holdfast_exchange::Exchange;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::router::router;
use crate::state::AppState;
use crate::tls::{ClientCertificate, ServerIdentity, server_config};
use crate::{http, mllp};

/// Open connections of one door. A connection costs some 100 KB of buffers, so a
/// full door stays far below 1 GB; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2_048;
/// How long requests in flight may take once the stop has come.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells connections that they are to end.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Whether the stop has come.
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the stop. A sender that is gone has stopped too.
    pub async fn comes(&mut self) {
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// Where the doors are.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Console, FHIR API, intake and operator API, with TLS.
    pub https: SocketAddr,
    /// HL7 v2 over MLLP, with TLS and client certificates.
    pub mllp: SocketAddr,
    /// The same as `https` without TLS, for a reverse proxy or load tests on this
    /// machine; loopback only.
    pub http: Option<SocketAddr>,
    /// Host name in the URLs that are given out, or the whole URL (`https://…`)
    /// when a reverse proxy stands before us.
    pub name: String,
}

/// The addresses that were bound: ports that were asked for as 0 are told here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// HTTPS.
    pub https: SocketAddr,
    /// MLLP.
    pub mllp: SocketAddr,
    /// Plain HTTP.
    pub http: Option<SocketAddr>,
}

/// Why the doors do not open.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had: in use, not ours, or not allowed.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// Which door.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Plain HTTP was asked for on an address that others can reach.
    #[error("plain HTTP is served on loopback only, not on {address}")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A certificate or key cannot be read.
    #[error("{what} is not usable PEM")]
    Pem {
        /// Which.
        what: &'static str,
    },
    /// TLS cannot be set up with what was given.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl ServeError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::Bind { .. } => Category::Conflict,
            Self::NotLoopback { .. } | Self::Pem { .. } | Self::Tls(_) => Category::Incorrect,
        }
    }
}

/// Opens the doors, says where (`ready`), and serves until `shutdown`; then lets
/// what is in flight finish.
///
/// # Errors
/// When a door cannot be bound or the identity cannot be used; nothing was served
/// then.
pub async fn serve(
    exchange: Arc<Exchange>,
    doors: Doors,
    identity: ServerIdentity,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(&Bound) + Send,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let https_tls = server_config(&identity, ClientCertificate::Optional, &[b"h2", b"http/1.1"])?;
    let mllp_tls = server_config(&identity, ClientCertificate::Required, &[])?;
    let issuer = identity.issuer.clone();
    drop(identity);
    let (https, https_at) = bind("HTTPS", doors.https).await?;
    let (mllp, mllp_at) = bind("MLLP", doors.mllp).await?;
    let http = match doors.http {
        Some(address) if !address.ip().is_loopback() => {
            return Err(ServeError::NotLoopback { address });
        }
        Some(address) => Some(bind("plain HTTP", address).await?),
        None => None,
    };
    let bound = Bound { https: https_at, mllp: mllp_at, http: http.as_ref().map(|(_, at)| *at) };
    let state =
        AppState::new(Arc::clone(&exchange), Arc::clone(&clock), &base_url(&doors.name, https_at))
            .with_issuer(issuer);
    let router = router(state);
    ready(&bound);

    let (stopper, stopped) = watch::channel(false);
    let stop = Stop(stopped);
    let mut running = JoinSet::new();
    let service = router.clone();
    let tls = TlsAcceptor::from(https_tls);
    running.spawn(accept(https, stop.clone(), move |stream, peer, stop| {
        http::serve_tls(tls.clone(), service.clone(), stream, peer, stop)
    }));
    if let Some((listener, _)) = http {
        running.spawn(accept(listener, stop.clone(), move |stream, peer, stop| {
            http::serve_plain(router.clone(), stream, peer, stop)
        }));
    }
    let tls = TlsAcceptor::from(mllp_tls);
    running.spawn(accept(mllp, stop, move |stream, peer, stop| {
        mllp::serve(tls.clone(), Arc::clone(&exchange), Arc::clone(&clock), stream, peer, stop)
    }));

    shutdown.await;
    let _ = stopper.send(true);
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn bind(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Where we are reached: `name` if it is a URL, otherwise https at `name` and the
/// bound port.
pub fn base_url(name: &str, https: SocketAddr) -> String {
    match (name.contains("://"), https.port()) {
        (true, _) => name.to_owned(),
        (false, 443) => format!("https://{name}"),
        (false, port) => format!("https://{name}:{port}"),
    }
}

/// Takes connections until the stop, then waits for those that are open.
async fn accept<F, C>(listener: TcpListener, mut stop: Stop, serve: F)
where
    F: Fn(TcpStream, SocketAddr, Stop) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        // Those that have ended are let go, so that the set does not grow.
        while open.try_join_next().is_some() {}
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.comes() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let connection = serve(stream, peer, stop.clone());
                open.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(FINISH_TIMEOUT, all).await.is_err() {
        tracing::warn!("connections were cut off at the stop");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_base_url_names_the_port_unless_it_is_the_usual_one() {
        let check = |name, port, expected: &str| {
            assert_eq!(base_url(name, SocketAddr::from(([127, 0, 0, 1], port))), expected);
        };
        check("hie.example", 443, "https://hie.example");
        check("localhost", 8443, "https://localhost:8443");
        check("https://proxy.example/hie", 8443, "https://proxy.example/hie");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (_held, at) = bind("HTTPS", any).await.expect("free port");
        let error = bind("HTTPS", at).await.expect_err("in use");
        assert!(matches!(error, ServeError::Bind { what: "HTTPS", address, .. } if address == at));
        assert_eq!(error.category(), Category::Conflict);
    }

    #[tokio::test]
    async fn connections_in_flight_finish_after_the_stop_and_new_ones_are_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listener, at) = bind("HTTPS", any).await.expect("free port");
        let (stopper, stopped) = watch::channel(false);
        let (taken, mut was_taken) = tokio::sync::mpsc::unbounded_channel();
        let finished = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&finished);
        let door = tokio::spawn(accept(listener, Stop(stopped), move |stream, _, mut stop| {
            let _ = taken.send(());
            let count = Arc::clone(&count);
            async move {
                stop.comes().await;
                // What is in flight still takes a few turns.
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                drop(stream);
                count.fetch_add(1, Ordering::SeqCst);
            }
        }));
        let _client = TcpStream::connect(at).await.expect("connects");
        was_taken.recv().await.expect("taken");
        stopper.send(true).expect("somebody listens");
        door.await.expect("ends");
        assert_eq!(finished.load(Ordering::SeqCst), 1);
        assert!(TcpStream::connect(at).await.is_err());
    }
}
