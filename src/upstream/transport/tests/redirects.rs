use hyper::StatusCode;
use tokio::io::AsyncWriteExt;

use super::*;

/// Serves one response for each request, each on its own connection, and returns the requests.
async fn serve(server: &ScriptedServer, responses: &[String]) -> Vec<String> {
    let mut requests = Vec::new();
    for response in responses {
        let mut stream = soon(server.listener.accept()).await.unwrap().0;
        let head = read_head(&mut stream).await;
        let mut body = [0; 4];
        soon(stream.read_exact(&mut body)).await.unwrap();
        requests.push(format!("{} {}", head.lines().next().unwrap(), String::from_utf8_lossy(&body)));
        stream.write_all(response.as_bytes()).await.unwrap();
    }
    requests
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
}

const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_redirect_with_307_or_308_repeats_method_and_body_within_the_origin() {
    let server = ScriptedServer::start().await;
    let absolute = format!("http://{}/b?r", server.address());
    let responses = [redirect(307, "/a"), redirect(308, &absolute), OK.to_owned()];
    let (sent, requests) = tokio::join!(server.send(b"body"), serve(&server, &responses));
    assert_eq!(sent.unwrap().status, StatusCode::OK);
    assert_eq!(requests, ["POST /v1?q HTTP/1.1 body", "POST /a HTTP/1.1 body", "POST /b?r HTTP/1.1 body"]);
}

#[tokio::test]
async fn any_other_redirect_is_the_response() {
    for (status, location) in [
        (301, "/a"),
        (302, "/a"),
        (303, "/a"),
        (307, "http://other.invalid/v1"),
        (308, "https://127.0.0.1/v1"),
        (307, "http://["),
    ] {
        let server = ScriptedServer::start().await;
        let responses = [redirect(status, location)];
        let (sent, _) = tokio::join!(server.send(b"body"), serve(&server, &responses));
        assert_eq!(sent.unwrap().status.as_u16(), status, "{location}");
    }
}

#[tokio::test]
async fn the_sixth_redirect_is_the_response() {
    let server = ScriptedServer::start().await;
    let responses: Vec<_> = (0..6).map(|_| redirect(307, "/again")).collect();
    let (sent, requests) = tokio::join!(server.send(b"body"), serve(&server, &responses));
    assert_eq!((sent.unwrap().status.as_u16(), requests.len()), (307, 6));
}
