//! Tests in which two honest cores perform arbitrary operations. No protocol error occurs, each
//! request has a single outcome, and messages arrive in order. At the end, all windows are free. A
//! model of the window checks every frame between the cores. The model is written from the text of
//! `PROTOCOL.md`.

mod conversation;
mod model;

use proptest::{collection::vec, prelude::*};

use self::conversation::{Conversation, Operation, Setup};

fn settings() -> impl Strategy<Value = Setup> {
    let window = || (1..5u32, 1..150u32);
    (window(), window(), 200..2000usize)
        .prop_map(|(windows, others, queue)| Setup { windows: [windows, others], queue_limit: queue })
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{Advance, Broadcast, Cancel, Deliver, Emit, EndHandler, Request};
    let endpoint = || 0..2usize;
    let size = || prop_oneof![3 => 0..20usize, 1 => 20..220usize];
    prop_oneof![
        4 => (endpoint(), size(), any::<bool>(), 1..5000u64).prop_map(|(endpoint, size, audience, timeout)| {
            Request { endpoint, size, audience, timeout }
        }),
        3 => (endpoint(), size()).prop_map(|(endpoint, size)| Emit { endpoint, size }),
        2 => (endpoint(), size()).prop_map(|(endpoint, size)| Broadcast { endpoint, size }),
        8 => (endpoint(), any::<bool>()).prop_map(|(endpoint, suspends)| Deliver { endpoint, suspends }),
        5 => (endpoint(), any::<prop::sample::Index>(), size(), any::<bool>())
            .prop_map(|(endpoint, which, size, fails)| EndHandler { endpoint, which, size, fails }),
        1 => (endpoint(), any::<prop::sample::Index>()).prop_map(|(endpoint, which)| Cancel { endpoint, which }),
        1 => (1..2000u64).prop_map(Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn honest_peers_cause_no_error_and_requests_end_once(
        settings in settings(),
        operations in vec(operation(), 1..150),
    ) {
        let mut conversation = Conversation::new(&settings);
        for operation in &operations {
            conversation.apply(operation);
        }
        conversation.finish();
    }

    #[test]
    fn lost_connection_ends_every_request(
        settings in settings(),
        operations in vec(operation(), 1..80),
    ) {
        let mut conversation = Conversation::new(&settings);
        for operation in &operations {
            conversation.apply(operation);
        }
        conversation.break_off();
    }
}
