//! Configures a userspace WireGuard device with three client libraries, and reads it with each.

use defguard_wireguard_rs::{host::Host, key::Key as DefguardKey, net::IpAddrMask, peer::Peer, Userspace, WGApi};
use std::net::{IpAddr, SocketAddr};
use wireguard_control::{Backend, Device, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder};
use wireguard_uapi::xplatform::{set, Client};

const PEERS: usize = 100;

fn endpoint() -> SocketAddr {
    "192.0.2.7:51820".parse().unwrap()
}

fn inner(number: usize) -> IpAddr {
    format!("10.7.0.{number}").parse().unwrap()
}

/// With wireguard-uapi.
fn set_by_uapi(client: &Client<String>) {
    let peers = (0..PEERS).map(|number| {
        let mut key = [9u8; 32];
        key[0] = number as u8;
        set::Peer::from_public_key(key)
            .endpoint(endpoint())
            .persistent_keepalive_interval(25)
            .preshared_key([3; 32])
            .allowed_ips(vec![set::AllowedIp { ipaddr: inner(number), cidr_mask: 32 }])
    });
    let device = set::Device {
        private_key: Some([8; 32]),
        listen_port: Some(51999),
        fwmark: Some(7),
        replace_peers: Some(true),
        peers: peers.collect(),
    };
    client.set(device).expect("wireguard-uapi sets");
}

fn check_by_uapi(client: &Client<String>, port: u16, peers: usize) {
    let device = client.get().expect("wireguard-uapi gets");
    assert_eq!(device.listen_port, port);
    assert_eq!(device.peers.len(), peers);
    for peer in &device.peers {
        assert_eq!(peer.endpoint, Some(endpoint()));
        assert_eq!(peer.allowed_ips.len(), 1);
    }
}

/// With wireguard-control.
fn set_by_control(name: &InterfaceName) {
    let mut update = DeviceUpdate::new().set_listen_port(51998).replace_peers();
    for number in 0..PEERS {
        let key = Key::generate_private().get_public();
        update = update.add_peer(
            PeerConfigBuilder::new(&key)
                .set_endpoint(endpoint())
                .set_persistent_keepalive_interval(25)
                .replace_allowed_ips()
                .add_allowed_ip(inner(number), 32),
        );
    }
    update.apply(name, Backend::Userspace).expect("wireguard-control sets");
}

fn check_by_control(name: &InterfaceName, port: u16, peers: usize) {
    let device = Device::get(name, Backend::Userspace).expect("wireguard-control gets");
    assert_eq!(device.listen_port, Some(port));
    assert_eq!(device.peers.len(), peers);
    assert!(device.peers.iter().all(|peer| peer.config.endpoint == Some(endpoint())));
}

/// With defguard_wireguard_rs.
fn set_by_defguard(api: &WGApi<Userspace>) {
    let mut host = Host { listen_port: 51997, ..Host::default() };
    host.private_key = Some(DefguardKey::generate());
    for number in 0..PEERS {
        let mut peer = Peer::new(DefguardKey::generate().public_key());
        peer.endpoint = Some(endpoint());
        peer.persistent_keepalive_interval = Some(25);
        peer.allowed_ips.push(IpAddrMask::new(inner(number), 32));
        host.peers.insert(peer.public_key.clone(), peer);
    }
    api.write_host(&host).expect("defguard_wireguard_rs sets");
}

fn check_by_defguard(api: &WGApi<Userspace>, port: u16, peers: usize) {
    let host = api.read_host().expect("defguard_wireguard_rs gets");
    assert_eq!(host.listen_port, port);
    assert_eq!(host.peers.len(), peers);
    assert!(host.peers.values().all(|peer| peer.endpoint == Some(endpoint())));
}

fn main() {
    let name = std::env::args().nth(1).expect("uapi-clients INTERFACE");
    let client = Client::create(format!("/var/run/wireguard/{name}.sock"));
    let interface: InterfaceName = name.parse().expect("an interface name");
    let api = WGApi::<Userspace>::new(name.clone()).expect("defguard_wireguard_rs opens");
    let check = |port, peers| {
        check_by_uapi(&client, port, peers);
        check_by_control(&interface, port, peers);
        check_by_defguard(&api, port, peers);
    };
    set_by_uapi(&client);
    check(51999, PEERS);
    set_by_control(&interface);
    check(51998, PEERS);
    DeviceUpdate::new().replace_peers().apply(&interface, Backend::Userspace).expect("peers removed");
    set_by_defguard(&api);
    check(51997, PEERS);
    println!("all three clients agree");
}
