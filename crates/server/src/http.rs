//! One HTTP connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::caller::Peer;
use crate::serve::Stop;
use crate::tls::fingerprint;

/// Longest TLS handshake: two round trips over a bad line.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the head of a request, so that nobody holds a connection by
/// sending it a byte at a time; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head of a request; tokens, cookies and searches are far shorter.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests that one HTTP/2 connection may have open at once: a browser's page or
/// an app's burst; more than that should wait its turn.
const STREAMS_MAX: u32 = 64;
/// How often a silent HTTP/2 connection is asked whether anybody is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Serves a connection with TLS.
pub(crate) async fn serve_tls(
    tls: TlsAcceptor,
    router: Router,
    stream: TcpStream,
    at: SocketAddr,
    stop: Stop,
) {
    // Scanners and broken clients fail here all the time; that is no news.
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer::new(at.ip(), certificate.map(|certificate| fingerprint(certificate)));
    serve(router, stream, peer, stop).await;
}

/// Serves a connection without TLS.
pub(crate) async fn serve_plain(router: Router, stream: TcpStream, at: SocketAddr, stop: Stop) {
    serve(router, stream, Peer::new(at.ip(), None), stop).await;
}

async fn serve<S>(router: Router, stream: S, peer: Peer, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        async move {
            let answered: Result<_, Infallible> = router.oneshot(request.map(Body::new)).await;
            answered
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(KEEP_ALIVE);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.comes() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
