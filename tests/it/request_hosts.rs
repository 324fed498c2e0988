//! Every request names one host (RFC 9112, section 3.2; RFC 9113, section 8.3.1).

use std::net::SocketAddr;

use tokenrill::settings::{AuthMode, AuthSettings, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Service, soon};

/// One service that accepts only loopback hosts and one that accepts any host, with the addresses of their listeners.
async fn services() -> (Vec<Service>, Vec<SocketAddr>) {
    let mut any = Settings {
        auth: AuthSettings { mode: Some(AuthMode::None), ..AuthSettings::default() },
        ..Settings::default()
    };
    any.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let services = vec![Service::start().await, Service::with(any).await];
    let addresses = services.iter().flat_map(|service| [Some(service.address), service.admin]).flatten().collect();
    (services, addresses)
}

/// Returns the status of a response over HTTP/1.
async fn status(address: SocketAddr, request: &str) -> String {
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    soon(socket.write_all(request.as_bytes())).await.expect("sent");
    let mut head = [0; 12];
    soon(socket.read_exact(&mut head)).await.expect("a response");
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[tokio::test]
async fn http1_request_without_exactly_one_valid_host_returns_400() {
    let (_services, addresses) = services().await;
    for address in addresses {
        for (line, hosts, expected) in [
            ("GET /healthz HTTP/1.1", &["localhost"][..], "200"),
            ("GET /healthz HTTP/1.1", &["LOCALHOST:8080"], "200"),
            ("GET http://localhost/healthz HTTP/1.1", &["localhost"], "200"),
            ("GET /healthz HTTP/1.0", &[], "200"),
            ("GET /healthz HTTP/1.1", &[], "400"),
            ("GET /healthz HTTP/1.1", &["localhost", "localhost"], "400"),
            ("GET /healthz HTTP/1.1", &["localhost", "evil.example"], "400"),
            ("GET /healthz HTTP/1.1", &["evil.example", "localhost"], "400"),
            ("GET http://localhost/healthz HTTP/1.1", &["localhost", "localhost"], "400"),
            ("GET /healthz HTTP/1.0", &["localhost", "localhost"], "400"),
            ("GET /healthz HTTP/1.1", &[""], "400"),
            ("GET /healthz HTTP/1.1", &["local host"], "400"),
            ("GET /healthz HTTP/1.1", &["localhost, evil.example"], "400"),
            ("GET /healthz HTTP/1.1", &["user@localhost"], "400"),
            ("GET /healthz HTTP/1.1", &["localhost:port"], "400"),
            ("GET /healthz HTTP/1.1", &["http://localhost"], "400"),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
            let request = format!("{line}\r\n{}\r\n", hosts.concat());
            assert_eq!(status(address, &request).await, expected, "{request}");
        }
    }
}

#[tokio::test]
async fn http2_request_whose_host_differs_from_its_authority_returns_400() {
    let (_services, addresses) = services().await;
    for address in addresses {
        let socket = soon(TcpStream::connect(address)).await.expect("a connection");
        let (client, connection) = soon(h2::client::handshake(socket)).await.expect("HTTP/2");
        let _driven = AbortOnDropHandle::new(tokio_util::task::TaskTracker::new().spawn(connection));
        for (authority, hosts, expected) in [
            ("localhost:8080", &[][..], 200),
            ("localhost:8080", &["localhost:8080"], 200),
            ("localhost", &["LOCALHOST:80"], 200),
            ("localhost:8080", &["localhost:8081"], 400),
            ("localhost", &["evil.example"], 400),
            ("evil.example", &["localhost"], 400),
            ("localhost", &["localhost", "localhost"], 400),
            ("localhost", &["user@localhost"], 400),
        ] {
            let mut request = axum::http::Request::get(format!("http://{authority}/healthz"));
            for host in hosts {
                request = request.header("host", *host);
            }
            let request = request.body(()).expect("a request");
            let mut client = soon(client.clone().ready()).await.expect("a stream");
            let (response, _) = client.send_request(request, true).expect("sent");
            let status = soon(response).await.expect("a response").status();
            assert_eq!(status, expected, "{authority} {hosts:?}");
        }
    }
}
