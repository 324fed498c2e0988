use std::iter;

use super::{
    request::Request,
    token::{DemoToken, DemoTokens, pieces},
};

/// The most characters of the user's message that are quoted.
const LONGEST_QUOTE: usize = 80;

/// The same arguments for every tool, because the demo model does not read schemas.
const ARGUMENTS: &str = r#"{"city":"Zürich","unit":"celsius"}"#;

/// What a model says instead of an answer.
const REFUSAL: &str = "I am sorry, but I cannot help with that. ";

/// Contains content that clients must handle correctly: Markdown in pieces, code, a table, several scripts, and emoji
/// of several code points, which the tokens split.
const BODY: &str = r#"## What just happened

Tokenrill gave this answer an id, keeps each piece of it in a log and sends it to all its viewers:

| Event | Meaning |
| --- | --- |
| `start` | the answer has an id |
| `delta`, `reasoning`, `tool_call` | a piece of it |
| `done`, `cancelled`, `failed` | its one end |

Each of these events has an id too. With the answer's id:

```sh
curl -N "$TOKENRILL/v1/generations/$ID/events"      # replay, then live
curl -X POST "$TOKENRILL/v1/generations/$ID/cancel" # stop it
```

## A real model

Set `OPENAI_API_KEY`, or `OPENAI_BASE_URL` for any compatible server, and start Tokenrill again.

## Every script arrives whole

Grüße aus Köln, こんにちは世界, مرحبا بالعالم, नमस्ते दुनिया 👩‍👩‍👧‍👦
"#;

/// Returns the tokens of one choice in order: reasoning if requested, the text or the refusal, the tool call. The same request yields
/// the same tokens. Tokens are generated when they are taken, so a long answer needs no more memory than a short one.
pub(super) fn tokens(request: &Request, choice: u8) -> DemoTokens {
    let options = &request.options;
    let reasoning =
        (1..).flat_map(|step| owned(&thought(step))).take(length(options.reasoning)).map(DemoToken::Reasoning);
    let call = request.tool().map(str::to_owned);
    let first_part = format!("{}{BODY}", greeting(request, choice));
    let text: Box<dyn Iterator<Item = String> + Send> = match (options.tokens, &call) {
        _ if options.refusal > 0 => Box::new(iter::empty()),
        (Some(tokens), _) => {
            let parts = iter::once(first_part).chain((2..).map(part));
            Box::new(parts.flat_map(|part| owned(&part)).take(length(tokens)))
        }
        (None, None) => Box::new(owned(&first_part)),
        (None, Some(_)) => Box::new(iter::empty()),
    };
    let call = call.into_iter().flat_map(|name| {
        iter::once(DemoToken::Call(name)).chain(pieces(ARGUMENTS).map(|piece| DemoToken::Arguments(piece.to_owned())))
    });
    let refusal = iter::repeat(REFUSAL).flat_map(owned).take(length(options.refusal)).map(DemoToken::Refusal);
    Box::new(reasoning.chain(refusal).chain(text.map(DemoToken::Text)).chain(call))
}

fn owned(text: &str) -> std::vec::IntoIter<String> {
    pieces(text).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn length(tokens: u32) -> usize {
    usize::try_from(tokens).unwrap_or(usize::MAX)
}

fn greeting(request: &Request, choice: u8) -> String {
    let quote = request.last_user_text().map_or_else(
        || "Your request has no user message.".to_owned(),
        |text| format!("You wrote:\n\n> {}", quote(&text)),
    );
    let which = match request.choices {
        1 => String::new(),
        choices => format!(" This is choice {} of {choices}.", choice + 1),
    };
    let messages = request.messages.len();
    let plural = if messages == 1 { "" } else { "s" };
    format!(
        "# Hello from Tokenrill 👋\n\n{quote}\n\nI am `demo`, the model built into Tokenrill: not a language model, but \
         a fixed text, sent token by token, so that you can build and test without a key or a network. Your request \
         holds {messages} message{plural} and {prompt} tokens, by my count.{which}\n\n",
        prompt = request.prompt_tokens(),
    )
}

/// Returns the text on one line, because line breaks would end the quote in the surrounding Markdown.
fn quote(text: &str) -> String {
    let words = text.split_whitespace().flat_map(|word| [" ", word]).skip(1);
    let mut characters = words.flat_map(str::chars);
    let mut quote: String = characters.by_ref().take(LONGEST_QUOTE).collect();
    if characters.next().is_some() {
        quote.push('…');
    }
    quote
}

fn part(number: u32) -> String {
    format!("\n---\n\n# Part {number}\n\nYou asked for more tokens than the text has, so here it is again.\n\n{BODY}")
}

fn thought(step: u32) -> String {
    format!("Step {step}: this is what reasoning looks like, though no model is thinking. ")
}

#[cfg(test)]
mod tests {
    use super::{super::token::LONGEST_PIECE, *};

    fn request(model: &str, content: &str, n: u8) -> Request {
        let body = serde_json::json!({
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "n": n,
        });
        Request::parse(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn answer_tokens(model: &str, content: &str) -> Vec<DemoToken> {
        tokens(&request(model, content, 1), 0).collect()
    }

    fn text(tokens: &[DemoToken]) -> String {
        let text = |token: &DemoToken| if let DemoToken::Text(text) = token { text.clone() } else { String::new() };
        tokens.iter().map(text).collect()
    }

    #[test]
    fn pieces_are_short_and_concatenate_to_the_text() {
        for text in [BODY, ARGUMENTS, "", " ", "   \n\n  x", "Donaudampfschifffahrtsgesellschaft", "a b", "नमस्ते"]
        {
            let pieces: Vec<_> = pieces(text).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| (1..=LONGEST_PIECE).contains(&piece.chars().count())), "{pieces:?}");
        }
        assert_eq!(pieces("Hello, small  world").collect::<Vec<_>>(), ["Hello,", " small", "  world"]);
    }

    #[test]
    fn an_emoji_is_split_between_its_code_points() {
        let family = "👩‍👩‍👧‍👦";
        assert!(BODY.contains(family));
        assert!(!pieces(BODY).any(|piece| piece.contains(family)), "no piece contains the whole emoji");
    }

    #[test]
    fn same_request_yields_the_same_answer() {
        assert_eq!(answer_tokens("demo", "Why?"), answer_tokens("demo", "Why?"));
        assert_ne!(answer_tokens("demo", "Why?"), answer_tokens("demo", "How?"));
    }

    #[test]
    fn default_answer_has_about_200_tokens_and_quotes_the_request() {
        let tokens = answer_tokens("demo", "Tell me,\nplease: why?");
        assert!((150..=250).contains(&tokens.len()), "{}", tokens.len());
        let text = text(&tokens);
        assert!(text.contains("\n> Tell me, please: why?\n"), "{text}");
        assert!(text.contains("not a language model"), "{text}");
        assert!(text.contains(" 1 message and 5 tokens"), "{text}");
        assert!(text.ends_with(BODY), "{text}");
    }

    #[test]
    fn long_message_is_truncated_in_the_quote() {
        let text = text(&answer_tokens("demo", &"ü ".repeat(50_000)));
        assert!(text.contains(&format!("\n> {}…\n", "ü ".repeat(40))), "{text}");
    }

    #[test]
    fn tokens_option_sets_the_length_in_numbered_parts() {
        for asked in [1, 7, 400, 100_000] {
            assert_eq!(answer_tokens(&format!("demo?tokens={asked}"), "Hi").len(), asked);
        }
        let long = text(&answer_tokens("demo?tokens=600", "Hi"));
        assert!(long.contains("# Part 2") && long.contains("# Part 3"), "{long}");
    }

    #[test]
    fn reasoning_precedes_the_text() {
        let tokens = answer_tokens("demo?reasoning=30&tokens=5", "Hi");
        let (reasoning, rest) = tokens.split_at(30);
        assert!(reasoning.iter().all(|token| matches!(token, DemoToken::Reasoning(_))));
        assert_eq!(rest.len(), 5);
        assert!(rest.iter().all(|token| matches!(token, DemoToken::Text(_))));
    }

    #[test]
    fn tool_call_is_fragmented_and_replaces_or_follows_the_text() {
        let tokens = answer_tokens("demo?tool=weather", "Hi");
        assert_eq!(tokens.first(), Some(&DemoToken::Call("weather".to_owned())));
        let fragments: Vec<_> = tokens
            .iter()
            .skip(1)
            .map(|token| if let DemoToken::Arguments(json) = token { json.as_str() } else { panic!("{token:?}") })
            .collect();
        assert!(fragments.len() > 3, "{fragments:?}");
        assert_eq!(fragments.concat(), ARGUMENTS);

        let both = answer_tokens("demo?tool=weather&tokens=4", "Hi");
        assert_eq!(both.len(), 4 + tokens.len());
        assert!(both.ends_with(&tokens));
    }

    #[test]
    fn each_choice_states_its_number() {
        let request = request("demo", "Hi", 3);
        let second = text(&tokens(&request, 1).collect::<Vec<_>>());
        assert!(second.contains("This is choice 2 of 3."), "{second}");
    }
}
