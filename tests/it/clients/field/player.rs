//! An upstream that replays the input named by the request's model.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::input::{Framing, Input, Step};

pub struct Player {
    address: SocketAddr,
    playing: JoinHandle<()>,
}

/// The response to one model name.
struct Answer {
    head: String,
    framing: Framing,
    steps: Vec<Step>,
}

impl Player {
    #[expect(clippy::disallowed_methods, reason = "dropping the player ends it")]
    pub async fn start(inputs: &[Input]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: BTreeMap<_, _> = inputs.iter().map(|input| (input.name.clone(), Answer::of(input))).collect();
        let answers = Arc::new(answers);
        let playing = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                // A client may close its connection at any time: an error ends this answer only.
                tokio::spawn(async move { serve(socket, &answers).await });
            }
        });
        Self { address, playing }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

impl Answer {
    fn of(input: &Input) -> Self {
        let mut head = format!("{}\r\nconnection: close\r\n", input.status);
        for (name, value) in &input.fields {
            head += &format!("{name}: {value}\r\n");
        }
        match input.framing {
            Framing::Chunked => head += "transfer-encoding: chunked\r\n",
            Framing::Length => {
                let length = |step: &Step| if let Step::Bytes(bytes) = step { bytes.len() } else { 0 };
                head += &format!("content-length: {}\r\n", input.steps.iter().map(length).sum::<usize>());
            }
            Framing::Close => {}
        }
        Self { head: head + "\r\n", framing: input.framing, steps: input.steps.clone() }
    }

    async fn play(&self, socket: &mut TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        socket.write_all(self.head.as_bytes()).await?;
        for step in &self.steps {
            match step {
                Step::Bytes(bytes) if self.framing == Framing::Chunked => {
                    let size = format!("{:x}\r\n", bytes.len());
                    socket.write_all(&[size.as_bytes(), bytes, b"\r\n"].concat()).await?;
                }
                Step::Bytes(bytes) => socket.write_all(bytes).await?,
                Step::Pause(milliseconds) => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
                Step::Cut => return Ok(()),
                Step::Reset => return socket.set_zero_linger(),
                Step::Hold => {
                    let mut byte = [0];
                    return socket.read(&mut byte).await.map(drop);
                }
            }
        }
        if self.framing == Framing::Chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        socket.shutdown().await
    }
}

/// Serves one request, then closes the connection.
async fn serve(mut socket: TcpStream, answers: &BTreeMap<String, Answer>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                break (head, bytes.split_off(end + 4));
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match body["model"].as_str().and_then(|model| answers.get(model)) {
        Some(answer) if head.starts_with("post ") => answer.play(&mut socket).await,
        _ => {
            let body = r#"{"object":"list","data":[]}"#;
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ";
            socket.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await
        }
    }
}
