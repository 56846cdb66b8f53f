//! A shop and four customers in a single program, over TCP. The example shows requests with typed
//! errors and a subgroup. It also shows an emit and a request to a room, and a disconnect by the
//! server.
//!
//! The output is the same in each run, because each step waits until the peer has received the
//! message of the previous step.

#![expect(unreachable_pub, reason = "the modules are written as for separate crates")]

mod contract;
mod customer;
mod shop;

use std::{error::Error, sync::Arc, time::Duration};

use sockets::{CallError, Server, Shutdown};

use crate::{
    contract::{LobbyClient, PurchaseError},
    customer::{Customer, ShopCall},
    shop::{LOBBY, Player, Shop},
};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    chapter("The shop opens");
    let shop = Arc::new(Shop::new());
    let server = shop.open().await?;
    let url = format!("tcp://{}", server.local_addr());
    let mut ada = Customer::enter(&url, "Ada").await?;
    let mut ben = Customer::enter(&url, "Ben").await?;
    let mut cleo = Customer::enter(&url, "Cleo").await?;
    let mut dan = Customer::enter(&url, "Dan").await?;

    buying(&ada, &ben).await?;
    watching(&shop, &server, &ada, [("Ben", &mut ben), ("Cleo", &mut cleo)]).await?;
    voting(&server, &mut ada, &mut ben, cleo, &mut dan).await?;

    chapter("A kick");
    let sleeper = server.socket("Dan").ok_or("Dan is not here")?;
    says("shop", "sends Dan away");
    sleeper.disconnect("this is no place to sleep");
    let reason = dan.until_disconnected().await;
    says("Dan", &format!("is disconnected: {}", reason.message().unwrap_or("nothing")));

    chapter("The shop closes");
    server.shutdown_with(Shutdown::new().for_good("the shop is closed")).await;
    says("Ada", &format!("goes home: {}", ada.until_disconnected().await));
    says("Ben", &format!("goes home: {}", ben.until_disconnected().await));
    Ok(())
}

async fn buying(ada: &Customer, ben: &Customer) -> Outcome {
    chapter("Buying, and what can go wrong");
    let price = ada.purchases().get_price("sword").await?.ok_or("there are swords")?;
    says("Ada", &format!("learns that a sword costs {price}"));
    let receipt = ada.purchases().buy("sword", 2).await?;
    says("Ada", &format!("has paid {} and holds receipt {}", receipt.paid, receipt.number));

    // The variant `CallError::Handler` contains the handler's own error. The other variants are
    // failures of the call.
    match ben.purchases().buy("sword", 9).await {
        Err(CallError::Handler(PurchaseError::OutOfStock { left })) => {
            says("Ben", &format!("wanted 9 swords and takes the {left} that are left"));
            ben.purchases().buy("sword", left).await?;
        }
        other => return Err(format!("nobody can have 9 swords: {:?}", other.map(|receipt| receipt.count)).into()),
    }
    if let Err(CallError::Handler(error)) = ben.purchases().buy("dragon", 1).await {
        says("Ben", &format!("wanted a dragon, and gets the error: {error}"));
    }

    chapter("A refund, in the subgroup");
    let money = ada.refunds().refund(&receipt).await?;
    says("Ada", &format!("brings the swords back and gets {money}"));
    if let Err(CallError::Handler(error)) = ada.refunds().refund(&receipt).await {
        says("Ada", &format!("shows receipt {} again, and gets the error: {error}", receipt.number));
    }
    Ok(())
}

async fn watching(
    shop: &Shop,
    server: &Server<Player>,
    ada: &Customer,
    watchers: [(&str, &mut Customer); 2],
) -> Outcome {
    chapter("Price changes for the room of watchers");
    for (name, watcher) in &watchers {
        watcher.purchases().watch("sword").await?;
        says(name, "watches the sword");
    }
    says("shop", "lowers the price of the sword");
    shop.set_price(server, "sword", 25).await?;
    for (name, watcher) in watchers {
        if let Some(ShopCall::Price { item, price }) = watcher.next_call().await {
            says(name, &format!("is notified: a {item} costs {price} now"));
        }
    }
    // The reply arrives after all messages that the shop sent to Ada before the reply.
    let price = ada.purchases().get_price("sword").await?.ok_or("there are swords")?;
    if ada.has_no_call() {
        says("Ada", &format!("does not watch and was not notified; she requests the price: {price}"));
    }
    Ok(())
}

async fn voting(
    server: &Server<Player>,
    ada: &mut Customer,
    ben: &mut Customer,
    mut cleo: Customer,
    dan: &mut Customer,
) -> Outcome {
    chapter("A vote in the lobby");
    let lobby = LobbyClient::new(&server.room(LOBBY)).with_timeout(Duration::from_secs(2));
    says("shop", "asks everyone: shields or helmets?");
    let mut votes = lobby.vote(vec!["shields".into(), "helmets".into()]);

    let mut shields = 0;
    for (name, voter, choice) in [("Ada", ada, 0), ("Ben", ben, 0)] {
        if let Some(ShopCall::Vote { choices, answer }) = voter.next_call().await {
            says(name, &format!("votes for {}", choices[choice]));
            let _ = answer.send(choices[choice].clone());
        }
        // The stream returns each reply as soon as the reply arrives.
        let (member, vote) = votes.next().await.ok_or("a vote is open")?;
        let vote = vote?;
        says("shop", &format!("has the vote of {}: {vote}", member.identity().name));
        shields += u32::from(vote == "shields");
    }

    cleo.next_call().await;
    says("Cleo", "is asked and leaves");
    drop(cleo);
    dan.next_call().await;
    says("Dan", "is asked and has fallen asleep");
    // The stream returns a single result for each member.
    while let Some((member, vote)) = votes.next().await {
        let outcome = match vote {
            Err(CallError::Disconnected { .. }) => "left before voting",
            Err(CallError::Timeout) => "did not vote in time",
            other => return Err(format!("nobody else votes: {other:?}").into()),
        };
        says("shop", &format!("has no vote of {}: {outcome}", member.identity().name));
    }
    says("shop", &format!("counts: {shields} for shields"));
    Ok(())
}

fn chapter(title: &str) {
    println!("\n{title}");
}

/// Prints a line of the story after the name of its subject.
pub fn says(actor: &str, action: &str) {
    println!("{actor:>6}  {action}");
}
