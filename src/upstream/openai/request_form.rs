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

/// What a form gives up of what is sent by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concession {
    StreamOptions,
    LimitName,
    Stream,
}

impl RequestForms {
    pub fn new(request: &ChatRequest, delivery: Delivery, whole: WholeAnswers) -> Self {
        let stream = if request.fields.get("stream") == Some("true") { StreamWish::Callers } else { StreamWish::Ours };
        let own_options = request.fields.get("stream_options").is_some();
        let deliveries = match (delivery, whole) {
            (_, WholeAnswers::Never) => &[Delivery::Stream][..],
            // Nothing about the stream is ours: its refusal is the caller's.
            (Delivery::Stream, _) if stream == StreamWish::Callers && own_options => &[Delivery::Stream],
            (Delivery::Stream, _) => &[Delivery::Stream, Delivery::Whole],
            (Delivery::Whole, _) => &[Delivery::Whole],
        };
        let limit_names = match request.added_limit {
            Some(_) => &[LimitName::MaxCompletionTokens, LimitName::MaxTokens][..],
            None => &[LimitName::MaxCompletionTokens],
        };
        let mut forms = Vec::new();
        for &delivery in deliveries {
            let options = match (delivery, own_options) {
                (Delivery::Stream, false) => &[StreamOptions::Sent, StreamOptions::Omitted][..],
                (Delivery::Stream, true) => &[StreamOptions::Sent],
                (Delivery::Whole, _) => &[StreamOptions::Omitted],
            };
            for &limit_name in limit_names {
                forms.extend(options.iter().map(|&stream_options| RequestForm {
                    delivery,
                    stream_options,
                    limit_name,
                }));
            }
        }
        let limit = if request.added_limit.is_some() { Limited::Yes } else { Limited::No };
        Self { forms, refused: Vec::new(), first: None, stream, limit }
    }

    /// Returns the form to begin with, where this upstream is known to refuse some of what we add.
    pub fn first(&mut self, refuses: impl Fn(Concession) -> bool) -> RequestForm {
        let is_known = |form: &&RequestForm| {
            let keeps =
                |concession| self.concedes(**form).any(|conceded| conceded == concession) == refuses(concession);
            // What is not ours in this request cannot be conceded.
            let can =
                |concession| self.forms.iter().any(|form| self.concedes(*form).any(|conceded| conceded == concession));
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
        let answers_it = |next: &&RequestForm| match reason {
            Reason::Unknown => true,
            Reason::Other => false,
            // That one thing is changed and nothing else.
            Reason::Named(Concession::StreamOptions) => {
                **next == RequestForm { stream_options: StreamOptions::Omitted, ..form }
                    && form.delivery == Delivery::Stream
            }
            Reason::Named(Concession::LimitName) => **next == RequestForm { limit_name: next.limit_name, ..form },
            Reason::Named(Concession::Stream) => next.delivery == Delivery::Whole && next.limit_name == form.limit_name,
        };
        let next = self.forms.iter().filter(|next| !self.refused.contains(next)).find(answers_it);
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
        let mut verdicts: Vec<_> =
            CONCESSIONS.into_iter().filter(|concession| known.clone().any(|it| it == *concession)).collect();
        verdicts.retain(|concession| *concession != Concession::Stream || self.stream == StreamWish::Ours);
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
            (whole, Concession::Stream),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::json::JsonObject;

    const ALLOWED: WholeAnswers = WholeAnswers::Allowed { max_bytes: 1 };

    fn request(fields: &str, limit: Option<u32>) -> ChatRequest {
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        ChatRequest { added_limit: limit.and_then(NonZeroU32::new), ..ChatRequest::new("m".into(), fields) }
    }

    fn refusal(report: Option<ErrorReport>) -> UpstreamError {
        UpstreamError::Refused { status: 422, retry_after: None, report: report.map(Box::new) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a refusal may have none")]
    fn param(param: &str) -> Option<ErrorReport> {
        Some(ErrorReport { param: Some(param.into()), ..ErrorReport::default() })
    }

    /// A form in short: `s`tream or `w`hole, `o`ptions, `n`ewer or `-`older name of the limit.
    fn short(form: RequestForm) -> String {
        let delivery = if form.delivery == Delivery::Stream { "s" } else { "w" };
        let options = if form.stream_options == StreamOptions::Sent { "o" } else { "" };
        let limit = if form.limit_name == LimitName::MaxTokens { "-" } else { "" };
        [delivery, options, limit].concat()
    }

    /// The forms in which a request is sent to an upstream that refuses each, and the last error.
    fn tried(
        fields: &str,
        limit: Option<u32>,
        delivery: Delivery,
        report: Option<&ErrorReport>,
    ) -> (String, UpstreamError) {
        let mut forms = RequestForms::new(&request(fields, limit), delivery, ALLOWED);
        let mut form = forms.first(|_| false);
        let mut tried = vec![short(form)];
        loop {
            match forms.next(form, refusal(report.cloned())) {
                Ok(next) => form = next,
                Err(error) => return (tried.join(" "), error),
            }
            tried.push(short(form));
        }
    }

    #[test]
    fn each_form_is_tried_once_where_the_upstream_does_not_say_what_it_refuses() {
        let own_options = r#"{"stream_options":{}}"#;
        for (fields, limit, delivery, expected) in [
            ("{}", None, Delivery::Whole, "w"),
            ("{}", Some(1), Delivery::Whole, "w w-"),
            ("{}", None, Delivery::Stream, "so s w"),
            (own_options, None, Delivery::Stream, "so w"),
            (r#"{"stream_options":{},"stream":true}"#, None, Delivery::Stream, "so"),
            ("{}", Some(1), Delivery::Stream, "so s so- s- w w-"),
        ] {
            let (tried, error) = tried(fields, limit, delivery, None);
            assert_eq!(tried, expected);
            assert_eq!(matches!(error, UpstreamError::LimitRefused { .. }), limit.is_some());
        }
    }

    #[test]
    fn what_the_upstream_names_is_given_up_and_nothing_else() {
        let message = |message: &str| Some(ErrorReport { message: Some(message.into()), ..ErrorReport::default() });
        let code =
            Some(ErrorReport { code: Some("context_length_exceeded".into()), ..message("max_tokens").expect("one") });
        for (report, expected) in [
            (param("body.stream_options"), "so s"),
            (param("max_completion_tokens"), "so so-"),
            (param("stream"), "so w"),
            (param("messages"), "so"),
            (message("Unknown field `stream_options`."), "so s"),
            (message("'max_tokens' is not supported"), "so so-"),
            (message("Streaming is off"), "so s so- s- w w-"),
            (code, "so"),
        ] {
            assert_eq!(tried("{}", Some(1), Delivery::Stream, report.as_ref()).0, expected, "{report:?}");
        }
    }

    #[test]
    fn an_error_that_is_no_refusal_of_the_request_is_final() {
        let mut forms = RequestForms::new(&request("{}", None), Delivery::Stream, ALLOWED);
        let form = forms.first(|_| false);
        for status in [401, 404, 413, 429, 500] {
            let error = UpstreamError::Refused { status, retry_after: None, report: None };
            assert_eq!(forms.next(form, error.clone()), Err(error));
        }
    }

    #[test]
    fn a_lesson_is_learned_where_the_caller_did_not_send_the_field() {
        let learnt = |fields: &str, refused: usize| {
            let mut forms = RequestForms::new(&request(fields, None), Delivery::Stream, ALLOWED);
            let mut form = forms.first(|_| false);
            for _ in 0..refused {
                form = forms.next(form, refusal(None)).expect("another form");
            }
            let learnt = forms.learnt(form).into_iter();
            learnt
                .filter(|(_, verdict)| *verdict == Verdict::Refused)
                .map(|(concession, _)| concession)
                .collect::<Vec<_>>()
        };
        assert_eq!(learnt("{}", 0), []);
        assert_eq!(learnt("{}", 1), [Concession::StreamOptions]);
        assert_eq!(learnt("{}", 2), [Concession::Stream]);
        assert_eq!(learnt(r#"{"stream":true}"#, 2), []);
        assert_eq!(learnt(r#"{"stream_options":{}}"#, 1), [Concession::Stream]);
    }

    #[test]
    fn a_lesson_decides_the_first_form_and_a_refusal_of_it_tries_the_others() {
        for (fields, limit, known, expected) in [
            ("{}", None, &[Concession::StreamOptions][..], "s"),
            ("{}", Some(1), &[Concession::LimitName, Concession::StreamOptions], "s-"),
            ("{}", Some(1), &[Concession::LimitName, Concession::Stream], "w-"),
            ("{}", None, &[Concession::LimitName], "so"),
            (r#"{"stream_options":{}}"#, None, &[Concession::StreamOptions], "so"),
            (r#"{"stream":true}"#, None, &[Concession::Stream], "w"),
        ] {
            let mut forms = RequestForms::new(&request(fields, limit), Delivery::Stream, ALLOWED);
            let first = forms.first(|concession| known.contains(&concession));
            assert_eq!(short(first), expected, "{fields} {known:?}");
            assert!(forms.learnt(first).is_empty());
            assert!(forms.next(first, refusal(None)).is_ok());
        }
    }

    #[test]
    fn an_upstream_that_always_streams_is_never_asked_whole() {
        let mut forms = RequestForms::new(&request("{}", None), Delivery::Whole, WholeAnswers::Never);
        assert_eq!(short(forms.first(|_| false)), "so");
        assert!(forms.forms.iter().all(|form| form.delivery == Delivery::Stream));
    }
}
