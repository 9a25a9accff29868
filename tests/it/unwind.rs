//! What may be used behind `catch_unwind`: every type of this crate.

use std::any::type_name;
use std::panic::{RefUnwindSafe, UnwindSafe};

use topic_registry::*;

type Rc = std::rc::Rc<std::cell::Cell<u8>>;

/// Returns the name of a type that is unwind safe, even if its events are not.
fn checked<T: UnwindSafe + RefUnwindSafe + ?Sized>() -> String {
    let name = type_name::<T>();
    let name = name.split('<').next().expect("it has a name");
    name.rsplit("::").next().expect("it has a name").to_owned()
}

fn all() -> Vec<String> {
    type Any<'a> = Batch<'a, SyncFlavor, Rc>;
    let all = [
        checked::<Any<'_>>(),
        checked::<Calls>(),
        checked::<Delivery>(),
        checked::<Handle<SyncFlavor, String, Rc>>(),
        checked::<HandlerGuard>(),
        checked::<HandlerId>(),
        checked::<HandlerInfo>(),
        checked::<HookFlavor>(),
        checked::<Interest>(),
        checked::<JoinError>(),
        checked::<JoinGuard>(),
        checked::<ObserverGuard>(),
        checked::<Owned<Rc>>(),
        checked::<PanicOrigin>(),
        checked::<Paused>(),
        checked::<Pinned<Rc>>(),
        checked::<Recorder<std::cell::Cell<u8>>>(),
        checked::<RegisterOptions<'_, SyncFlavor, Rc>>(),
        checked::<Registry<SyncFlavor, Rc>>(),
        checked::<SyncFlavor>(),
        checked::<TopicInfo<String>>(),
        checked::<Topics<SyncFlavor, String, Rc>>(),
        checked::<TopicsBuilder<SyncFlavor, String, Rc>>(),
        checked::<WaitError>(),
        checked::<WaitFor<std::cell::Cell<u8>>>(),
        checked::<WeakRegistry<SyncFlavor, Rc>>(),
        checked::<WeakTopics<SyncFlavor, String, Rc>>(),
    ];
    #[cfg(feature = "async")]
    let of_async = [checked::<AsyncFlavor>()];
    #[cfg(not(feature = "async"))]
    let of_async = [];
    all.into_iter().chain(of_async).collect()
}

/// Those that `src/lib.rs` exports, so that none is forgotten here.
#[test]
fn every_type_is_unwind_safe() {
    // The payload that it refers to is a `dyn Any`.
    const IS_NOT: &str = "PanicInfo";
    const TRAITS: [&str; 7] = [
        "BorrowingHandler",
        "Equivalent",
        "Flavor",
        "Hook",
        "Key",
        "Returns",
        "SharedFlavor",
    ];
    const ALIASES: [&str; 15] = [
        "AsyncRegistry",
        "AsyncTopicHandle",
        "AsyncTopicRegistry",
        "HookRegistry",
        "HookTopicHandle",
        "HookTopicRegistry",
        "SyncRegistry",
        "TopicHandle",
        "TopicRegistry",
        "WeakAsyncRegistry",
        "WeakAsyncTopicRegistry",
        "WeakHookRegistry",
        "WeakHookTopicRegistry",
        "WeakSyncRegistry",
        "WeakTopicRegistry",
    ];
    let (all, source) = (all(), include_str!("../../src/lib.rs"));
    let mut exports = 0;
    for export in source.split("pub use ").skip(1) {
        let names = export.split(';').next().expect("it ends");
        let names = names.rsplit("::").next().expect("it is a path");
        for name in names.split(|c: char| !c.is_alphanumeric()).filter(|name| !name.is_empty()) {
            let is_known = all.iter().any(|known| known == name)
                || TRAITS.contains(&name)
                || ALIASES.contains(&name)
                || name == IS_NOT
                || !cfg!(feature = "async") && name.starts_with("Async");
            assert!(is_known, "`{name}` is not listed here");
            exports += 1;
        }
    }
    assert!(exports > all.len(), "nothing was found in `src/lib.rs`");
}
