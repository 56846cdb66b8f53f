//! An auction with several devices for each bidder, and a restart of its server.

#![expect(unreachable_pub, reason = "the modules are written as for separate crates")]

mod contract;
mod device;
mod house;

use std::{error::Error, io, net::SocketAddr};

use sockets::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::UnboundedReceiver,
};

use crate::{
    contract::{AdminClient, AuctionClient},
    device::Device,
    house::{House, Lots},
};

/// Returns the page that a browser would show.
async fn page(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

async fn bid(client: &Client, name: &str, price: u32) {
    match AuctionClient::new(client).bid("vase", price).await {
        Ok(()) => println!("{name} bids {price}"),
        Err(error) => println!("{name} bids {price}: {error}"),
    }
}

/// Waits for the next line of each device, and prints it.
async fn show(
    devices: &mut [Device],
    lines: fn(&mut Device) -> &mut UnboundedReceiver<String>,
) -> Result<(), Box<dyn Error>> {
    for device in devices {
        let line = lines(device).recv().await.ok_or("the client has ended")?;
        println!("{}: {line}", device.name);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let lots = Lots::new([("lamp", 5), ("vase", 10)]);
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let house = House::open(&lots, (any_port, any_port)).await?;
    let (tcp, http) = house.addresses;
    let (by_tcp, by_websocket) = (format!("tcp://{tcp}"), format!("ws://{http}/live"));
    if let Err(error) = Client::builder().auth(("Grace", "hammer")).connect(&by_tcp).await {
        println!("an impostor: {error}");
    }
    let grace = Client::builder().auth(("Grace", "gavel")).connect(&by_tcp).await?;
    let mut devices = [
        Device::connect("Ada", "laptop", "vase", &by_tcp).await?,
        Device::connect("Ada", "phone", "vase", &by_websocket).await?,
        Device::connect("Ben", "laptop", "vase", &by_websocket).await?,
    ];
    let (ada, ben) = (devices[0].client.clone(), devices[2].client.clone());
    show(&mut devices, |device| &mut device.messages).await?;

    bid(&ada, "Ada", 20).await;
    show(&mut devices, |device| &mut device.messages).await?;
    bid(&ben, "Ben", 15).await;
    bid(&ben, "Ben", 30).await;
    show(&mut devices, |device| &mut device.messages).await?;
    if let Err(error) = AdminClient::new(&ben).sell("vase").await {
        println!("Ben sells the vase: {error}");
    }

    house.close().await;
    show(&mut devices, |device| &mut device.states).await?;
    // The bid waits for the next server, and is sent after the device has joined its room again.
    let ((), house) = tokio::join!(bid(&ada, "Ada", 40), House::open(&lots, (tcp, http)));
    let _house = house?;
    show(&mut devices, |device| &mut device.states).await?;
    show(&mut devices, |device| &mut device.messages).await?;

    let admin = AdminClient::new(&grace);
    println!("Grace sells the vase to {}", admin.sell("vase").await?.as_deref().unwrap_or("nobody"));
    show(&mut devices, |device| &mut device.messages).await?;
    show(&mut devices[..2], |device| &mut device.messages).await?;
    print!("{}", page(http).await?);
    admin.expel("Ada", "the auction is over").await?;
    show(&mut devices[..2], |device| &mut device.states).await
}
