//! The generation of a chat (contract 17), and the end of one without a viewer.

use tokenrill::domain::{ChatKey, ChatTurn, GenerationId, Principal, TurnKey};
use tokenrill::event_log::{ChatGeneration, ChatState, Created, GenerationEnded, NamedChat};

use super::{Backend, ROOMY, account, begun_by, create, ended, made, terms};

fn turn(chat: &str, turn: Option<&str>) -> ChatTurn {
    ChatTurn { chat: ChatKey::of(chat), turn: turn.map(|turn| TurnKey::of(turn.as_bytes())) }
}

const NEW: NamedChat = NamedChat::New { earlier: None };

pub async fn a_chat_has_the_last_generation_and_a_repeated_turn_the_first<B: Backend>() {
    let logs = B::start(ROOMY);
    let (other, owner) = (logs.replica(), Principal::Key("a".into()));
    let mut kept = Vec::new();
    for _ in 0..4 {
        let id = GenerationId::random();
        let log = made(logs.create(begun_by(owner.clone(), id, 0), terms(&account(0), None)).await).expect("room");
        kept.push((id, log));
    }
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|at: usize| kept[at].0);
    let (chat, is_open) = (ChatKey::of("chat/1 ü"), ChatState::Open);
    assert_eq!(other.chat(&owner, chat).await, Ok(None));

    assert_eq!(logs.name(&owner, turn("chat/1 ü", Some("a")), first, None).await, Ok(NEW));
    assert_eq!(other.name(&owner, turn("chat/1 ü", Some("a")), second, None).await, Ok(NamedChat::Same(first)));
    assert_eq!(
        other.chat(&owner, chat).await,
        Ok(Some(ChatGeneration { generation: first, turn: Some(TurnKey::of(b"a")), state: is_open }))
    );
    assert_eq!(other.chat(&Principal::Anonymous, chat).await, Ok(None), "of another caller");

    let earlier = |earlier| Ok(NamedChat::New { earlier: Some(earlier) });
    let again = other.name(&owner, turn("chat/1 ü", Some("a")), second, Some(first)).await;
    assert_eq!(again, earlier(first), "the first has ended");
    assert_eq!(other.name(&owner, turn("chat/1 ü", None), third, None).await, earlier(second), "another turn");
    assert_eq!(logs.name(&owner, turn("chat/1 ü", None), fourth, None).await, earlier(third), "never the same");
    assert_eq!(
        logs.chat(&owner, chat).await,
        Ok(Some(ChatGeneration { generation: fourth, turn: None, state: is_open }))
    );
}

pub async fn a_chat_that_is_closed_repeats_no_turn<B: Backend>() {
    let logs = B::start(ROOMY);
    let ((first, _kept), (second, _also), owner) = (create(&logs).await, create(&logs).await, Principal::Anonymous);
    let (chat, of_chat) = (ChatKey::of("c"), turn("c", Some("a")));
    assert_eq!(logs.name(&owner, of_chat, first, None).await, Ok(NEW));
    logs.close_chat(&owner, chat, second).await.expect("the log answers");
    let named = |state| ChatGeneration { generation: first, turn: Some(TurnKey::of(b"a")), state };
    assert_eq!(logs.chat(&owner, chat).await, Ok(Some(named(ChatState::Open))), "not its own");
    logs.replica().close_chat(&owner, chat, first).await.expect("the log answers");
    assert_eq!(logs.chat(&owner, chat).await, Ok(Some(named(ChatState::Closed))));
    assert_eq!(logs.name(&owner, of_chat, second, None).await, Ok(NamedChat::New { earlier: Some(first) }));
}

pub async fn a_log_is_shut_at_once_only_without_a_viewer<B: Backend>() {
    let logs = B::start(ROOMY);
    let id = GenerationId::random();
    let created = logs.create(begun_by(Principal::Anonymous, id, 0), terms(&account(0), None)).await;
    let Ok(Created::New { mut writer, viewer }) = created else { panic!("there is room") };
    assert_eq!(logs.replica().shut_if_empty(id).await, Ok(false));
    drop(viewer);
    // A viewer that leaves is removed in the background.
    while logs.replica().shut_if_empty(id).await == Ok(false) {
        tokio::task::yield_now().await;
    }
    assert_eq!(logs.join(id).await.err(), Some(GenerationEnded));
    writer.close(ended(0)).await.expect("it fits");
    assert_eq!(logs.shut_if_empty(id).await, Ok(true));
}
