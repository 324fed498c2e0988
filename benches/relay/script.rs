//! The script of an answer, encoded in the model's name, which every peer forwards unchanged.

use std::fmt;
use std::time::Duration;

/// More tokens than any client reads.
pub const ENDLESS: u32 = 999_999;
const PREFIX: &str = "bench";

/// The point at which the model stops sending.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    #[default]
    Nowhere,
    BeforeHead,
    AfterHead,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Script {
    pub tokens: u32,
    /// Between two writes; zero: as fast as the peer reads.
    pub pause: Duration,
    /// Tokens per write.
    pub batch: u32,
    /// Between the head and the first token.
    pub lead: Duration,
    pub hold: Hold,
    /// The number under which the end of the connection is reported; zero: it is not watched.
    pub watched: u32,
}

impl Script {
    /// A script with one token per write.
    pub fn new(tokens: u32, pause: Duration) -> Self {
        Self { tokens, pause, batch: 1, lead: Duration::ZERO, hold: Hold::Nowhere, watched: 0 }
    }

    /// Finds the script whose name is in `body`.
    pub fn find(body: &[u8]) -> Option<Self> {
        let at = memchr::memmem::find(body, PREFIX.as_bytes())?;
        let name = body.get(at..)?.split(|byte| *byte == b'"').next()?;
        let mut script = Self::new(0, Duration::ZERO);
        for part in std::str::from_utf8(name).ok()?.split('-').skip(1) {
            let (letter, figure) = part.split_at_checked(1)?;
            let figure: u32 = figure.parse().ok()?;
            match letter {
                "t" => script.tokens = figure,
                "p" => script.pause = Duration::from_micros(figure.into()),
                "b" => script.batch = figure.max(1),
                "d" => script.lead = Duration::from_micros(figure.into()),
                "h" if figure == 0 => script.hold = Hold::BeforeHead,
                "h" => script.hold = Hold::AfterHead,
                "w" => script.watched = figure,
                _ => return None,
            }
        }
        Some(script)
    }

    /// Returns whether the whole answer is one write.
    pub fn is_one_write(&self) -> bool {
        self.pause.is_zero() && self.lead.is_zero() && self.batch >= self.tokens && self.hold == Hold::Nowhere
    }
}

impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}-t{}-p{}-b{}", self.tokens, self.pause.as_micros(), self.batch)?;
        if !self.lead.is_zero() {
            write!(out, "-d{}", self.lead.as_micros())?;
        }
        match self.hold {
            Hold::Nowhere => {}
            Hold::BeforeHead => out.write_str("-h0")?,
            Hold::AfterHead => out.write_str("-h1")?,
        }
        if self.watched > 0 {
            write!(out, "-w{}", self.watched)?;
        }
        Ok(())
    }
}
