//! Veto: hooks before a commit can stop it; hooks after it only receive what was committed.

use std::collections::BTreeMap;
use std::ops::ControlFlow::{Break, Continue};

use topic_registry::{TopicHandle, TopicRegistry};

/// The phases of a commit, which are the keys of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Before,
    After,
}

struct Transfer {
    from: &'static str,
    to: &'static str,
    amount: i64,
}

struct Bank {
    accounts: BTreeMap<&'static str, i64>,
    before: TopicHandle<Phase, Transfer>,
    after: TopicHandle<Phase, Transfer>,
}

impl Bank {
    fn commit(&mut self, transfer: &Transfer) -> bool {
        let Transfer { from, to, amount } = *transfer;
        println!("{from} to {to}, {amount}:");
        let checked = self.before.notify(transfer);
        // Even if a hook panicked: it has not agreed.
        if checked.stopped() {
            println!("  refused, after {} of the hooks", checked.called());
            return false;
        }
        *self.accounts.entry(from).or_default() -= amount;
        *self.accounts.entry(to).or_default() += amount;
        self.after.notify(transfer);
        true
    }
}

fn main() {
    let hooks = TopicRegistry::<Phase, Transfer>::new();
    let before = hooks.handle(Phase::Before);
    before.options().priority(10).register_interceptor(|transfer| {
        if transfer.amount <= 0 {
            println!("  veto: {} is no amount", transfer.amount);
            return Break(());
        }
        Continue(())
    });
    before.options().register_interceptor(|transfer| match transfer.to {
        "nobody" => {
            println!("  veto: there is no such account");
            Break(())
        }
        _ => Continue(()),
    });
    before.options().priority(-10).register_interceptor(|transfer| {
        assert_ne!(
            transfer.to, "Mallory",
            "on purpose: a hook that panics also refuses"
        );
        Continue(())
    });
    hooks.register(Phase::After, |transfer| {
        println!("  audit: {} sent", transfer.amount);
    });

    let mut bank = Bank {
        accounts: BTreeMap::new(),
        before: hooks.handle(Phase::Before),
        after: hooks.handle(Phase::After),
    };
    for (to, amount) in [("Bob", 30), ("Bob", -5), ("nobody", 10), ("Mallory", 1)] {
        bank.commit(&Transfer {
            from: "Ada",
            to,
            amount,
        });
    }
    println!("accounts: {:?}", bank.accounts);
}
