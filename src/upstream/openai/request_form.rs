//! What we add to a request, and what is left of it once an upstream has refused it.

use super::super::{Delivery, ErrorReport, UpstreamError};
use crate::domain::{ChatRequest, OUTPUT_LIMITS};

/// What we add to a request, and under which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestForm {
    pub delivery: Delivery,
    pub stream_options: StreamOptions,
    pub limit_name: LimitName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamOptions {
    Sent,
    Omitted,
}

/// The name under which a limit of the caller's is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitName {
    MaxCompletionTokens,
    MaxTokens,
}

impl LimitName {
    pub const fn name(self) -> &'static str {
        let [newer, older] = OUTPUT_LIMITS;
        match self {
            Self::MaxCompletionTokens => newer,
            Self::MaxTokens => older,
        }
    }
}

/// Whether an upstream may be asked for a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeAnswers {
    Allowed {
        /// The largest body that is read.
        max_bytes: usize,
    },
    /// `upstreams.always_stream`
    Never,
}

/// The forms in which one request may be sent, and those that were refused.
///
/// A refusal is not billed, so the request is sent again without what we added: at most once in each form.
#[derive(Debug)]
pub struct RequestForms {
    /// In the order in which they are tried.
    forms: Vec<RequestForm>,
    refused: Vec<RequestForm>,
    first: Option<RequestForm>,
    /// Whether the caller itself asked for a stream.
    stream: StreamWish,
    limit: Limited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamWish {
    Callers,
    Ours,
}

/// Whether a limit of the caller's was added to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limited {
    Yes,
    No,
}

/// What a form gave up that the caller had not asked for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concession {
    StreamOptions,
    LimitName,
    Stream,
}

impl RequestForms {
    pub fn new(request: &ChatRequest, delivery: Delivery, whole: WholeAnswers) -> Self {
        let delivery = if whole == WholeAnswers::Never { Delivery::Stream } else { delivery };
        let deliveries = match (delivery, whole) {
            (Delivery::Stream, WholeAnswers::Allowed { .. }) => &[Delivery::Stream, Delivery::Whole][..],
            (Delivery::Stream, WholeAnswers::Never) => &[Delivery::Stream],
            (Delivery::Whole, _) => &[Delivery::Whole],
        };
        let limit_names = match request.added_limit {
            Some(_) => &[LimitName::MaxCompletionTokens, LimitName::MaxTokens][..],
            None => &[LimitName::MaxCompletionTokens],
        };
        let mut forms = Vec::new();
        for &delivery in deliveries {
            let options = match (delivery, request.fields.get("stream_options")) {
                (Delivery::Stream, None) => &[StreamOptions::Sent, StreamOptions::Omitted][..],
                (Delivery::Stream, Some(_)) => &[StreamOptions::Sent],
                (Delivery::Whole, _) => &[StreamOptions::Omitted],
            };
            for &limit_name in limit_names {
                forms.extend(options.iter().map(|&stream_options| RequestForm { delivery, stream_options, limit_name }));
            }
        }
        let stream = if request.fields.get("stream") == Some("true") { StreamWish::Callers } else { StreamWish::Ours };
        let limit = if request.added_limit.is_some() { Limited::Yes } else { Limited::No };
        Self { forms, refused: Vec::new(), first: None, stream, limit }
    }

    /// Returns the form to begin with, where this upstream is known to refuse some of what we add.
    pub fn first(&mut self, refuses: impl Fn(Concession) -> bool) -> RequestForm {
        let is_known = |form: &&RequestForm| {
            let keeps = |concession| self.concedes(**form).any(|conceded| conceded == concession) == refuses(concession);
            // What is not ours in this request cannot be conceded.
            let can = |concession| self.forms.iter().any(|form| self.concedes(*form).any(|conceded| conceded == concession));
            let implied = |concession| form.delivery == Delivery::Whole && concession == Concession::StreamOptions;
            CONCESSIONS.into_iter().all(|concession| !can(concession) || implied(concession) || keeps(concession))
        };
        let first = self.forms.iter().find(is_known).or(self.forms.first()).copied();
        self.first = first;
        first.unwrap_or(RequestForm {
            delivery: Delivery::Stream,
            stream_options: StreamOptions::Sent,
            limit_name: LimitName::MaxCompletionTokens,
        })
    }

    /// Returns the form to try after `form` was refused.
    ///
    /// Errors: the refusal, where no form is left or the upstream says that it refuses something else.
    pub fn next(&mut self, form: RequestForm, error: UpstreamError) -> Result<RequestForm, UpstreamError> {
        let UpstreamError::Refused { status: 400 | 422, report, .. } = &error else { return Err(error) };
        let reason = Reason::of(report.as_deref());
        self.refused.push(form);
        let differs = |next: &&RequestForm| match reason {
            Reason::Unknown => true,
            Reason::Other => false,
            Reason::Named(Concession::StreamOptions) => next.stream_options != form.stream_options,
            Reason::Named(Concession::LimitName) => next.limit_name != form.limit_name,
            Reason::Named(Concession::Stream) => next.delivery != form.delivery,
        };
        let next = self.forms.iter().filter(|next| !self.refused.contains(next)).find(differs);
        next.copied().ok_or_else(|| match error {
            UpstreamError::Refused { status, report, .. } if self.limit_is_refused(reason) => {
                UpstreamError::LimitRefused { status, report }
            }
            error => error,
        })
    }

    /// Whether the limit was refused under both names, as far as the upstream says.
    fn limit_is_refused(&self, reason: Reason) -> bool {
        let was_refused = |name| self.refused.iter().any(|form| form.limit_name == name);
        self.limit == Limited::Yes
            && matches!(reason, Reason::Unknown | Reason::Named(Concession::LimitName))
            && [LimitName::MaxCompletionTokens, LimitName::MaxTokens].into_iter().all(was_refused)
    }

    /// Returns what was learnt once `form` has succeeded: nothing where it was the first that was tried.
    pub fn learnt(&self, form: RequestForm) -> Vec<(Concession, Verdict)> {
        if self.first == Some(form) {
            return Vec::new();
        }
        let conceded: Vec<_> = self.concedes(form).collect();
        let known = self.forms.iter().flat_map(|form| self.concedes(*form));
        let mut verdicts: Vec<_> = CONCESSIONS.into_iter().filter(|concession| known.clone().any(|it| it == *concession)).collect();
        // A whole answer has no stream options: it shows nothing about them.
        verdicts.retain(|concession| form.delivery == Delivery::Stream || *concession != Concession::StreamOptions);
        let verdict = |concession| if conceded.contains(&concession) { Verdict::Refused } else { Verdict::Accepted };
        verdicts.into_iter().map(|concession| (concession, verdict(concession))).collect()
    }

    fn concedes(&self, form: RequestForm) -> impl Iterator<Item = Concession> + Clone {
        let streams = form.delivery == Delivery::Stream;
        let whole = !streams && self.forms.iter().any(|form| form.delivery == Delivery::Stream);
        let conceded = [
            (streams && form.stream_options == StreamOptions::Omitted, Concession::StreamOptions),
            (form.limit_name == LimitName::MaxTokens, Concession::LimitName),
            (whole && self.stream == StreamWish::Ours, Concession::Stream),
        ];
        conceded.into_iter().filter(|(conceded, _)| *conceded).map(|(_, concession)| concession)
    }
}

const CONCESSIONS: [Concession; 3] = [Concession::StreamOptions, Concession::LimitName, Concession::Stream];

/// What a successful request shows of something that we add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

/// Why an upstream refused a request, as far as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Named(Concession),
    /// Something that is the caller's.
    Other,
    Unknown,
}

/// Codes of refusals that nothing which we add can cause.
const CODES_OF_OTHERS: [&str; 6] = [
    "content_filter",
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "rate_limit_exceeded",
];

impl Reason {
    fn of(report: Option<&ErrorReport>) -> Self {
        let Some(report) = report else { return Self::Unknown };
        if report.code.as_deref().is_some_and(|code| CODES_OF_OTHERS.contains(&code)) {
            return Self::Other;
        }
        // A validator names the place, such as `body.stream_options`.
        if let Some(param) = &report.param {
            return Self::named(param).unwrap_or(Self::Other);
        }
        report.message.as_deref().and_then(Self::named).unwrap_or(Self::Unknown)
    }

    fn named(text: &str) -> Option<Self> {
        let words = || text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let names = |name: &str| words().any(|word| word == name);
        let concession = if names("stream_options") {
            Concession::StreamOptions
        } else if OUTPUT_LIMITS.into_iter().any(names) {
            Concession::LimitName
        } else if names("stream") {
            Concession::Stream
        } else {
            return None;
        };
        Some(Self::Named(concession))
    }
}
