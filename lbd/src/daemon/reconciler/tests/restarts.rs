//! What the next lbd does with what the last one left.

use super::configurations::{MINUTE, apply};
use super::*;

#[tokio::test]
async fn what_is_renamed_or_removed_while_no_lbd_runs_keeps_its_flows_too() {
    let dns = WEB.replace("web", "dns").replace("80", "53") + &reals(&[3]);
    let ntp = WEB.replace("web", "ntp").replace("80", "123") + &reals(&[4]);
    let mut rig = Rig::new(&(web(&[1, 2]) + &dns + &ntp)).await;
    let ids = [rig.id("web", 1), rig.id("dns", 3), rig.id("ntp", 4)];
    let [web1, dns3, ntp4] = ids;
    ids.iter().for_each(|id| rig.me.live.loads.add(*id, Active));
    // One lingers already when lbd ends.
    rig.typed(&(web(&[1, 2]) + &dns)).await;
    drop(rig.me);
    let path = rig.dir.path().join("lbd.toml");
    fs::write(&path, web(&[1, 2]).replace("\"web\"", "\"shop\"")).unwrap();
    let rig = Rig::start_with(rig.dir, &ids).await;
    assert_eq!(rig.id("shop", 1), web1);
    let lingering = |rig: &Rig| [dns3, ntp4].map(|id| rig.table().member(id).unwrap().1.lingering);
    assert_eq!(lingering(&rig), [true, true]);
    assert_eq!(rig.table().services.len(), 3, "each of them once");
    drop(rig.me);

    let rig = Rig::start_with(rig.dir, &ids).await;
    assert_eq!(lingering(&rig), [true, true], "over another restart, too");
    drop(rig.me);
    let rig = Rig::start_with(rig.dir, &[web1]).await;
    assert_eq!(rig.table().services.len(), 1, "their flows have ended");
}

#[tokio::test]
async fn a_rename_that_was_never_confirmed_takes_no_flow_along() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let web1 = rig.id("web", 1);
    rig.me.live.loads.add(web1, Active);
    let shop = web(&[1, 2]).replace("\"web\"", "\"shop\"");
    rig.change(apply(&shop, MINUTE)).await;
    assert_eq!(rig.id("shop", 1), web1);
    drop(rig.me);
    let rig = Rig::start_with(rig.dir, &[web1]).await;
    assert_eq!(rig.id("web", 1), web1);
}

#[tokio::test]
async fn a_configuration_that_was_given_up_is_not_how_a_service_ran_last() {
    let dns = |vip: &str| {
        let service = WEB.replace("web", "dns").replace("80", "53");
        service.replace("192.0.2.10", vip) + &reals(&[3])
    };
    let mut rig = Rig::new(&(web(&[1]) + &dns("192.0.2.10"))).await;
    let dns3 = rig.id("dns", 3);
    rig.me.live.loads.add(dns3, Active);
    let elsewhere = web(&[1]) + &dns("192.0.2.11");
    rig.change(apply(&elsewhere, MINUTE)).await;
    drop(rig.me);
    let rig = Rig::start_with(rig.dir, &[dns3]).await;
    drop(rig.me);
    fs::write(rig.dir.path().join("lbd.toml"), web(&[1])).unwrap();
    let rig = Rig::start_with(rig.dir, &[dns3]).await;
    let vips: Vec<_> = rig.me.world.lingering.iter().map(|s| &s.vips).collect();
    assert_eq!(vips, [&["192.0.2.10".parse::<std::net::IpAddr>().unwrap()]]);
}

#[tokio::test]
async fn what_was_cut_off_stays_so_under_another_name() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let id = rig.id("web", 1);
    rig.me.live.loads.add(id, Active);
    let how = How {
        now: true,
        ..How::default()
    };
    let (service, real) = ("web".into(), "rs1".into());
    rig.change(Request::RemoveReal { service, real, how }).await;
    let shop = web(&[2]).replace("\"web\"", "\"shop\"");
    rig.typed(&shop).await;
    let state = |rig: &Rig| rig.table().member(id).unwrap().1.state;
    assert_eq!(state(&rig), RealState::Disabled);
    drop(rig.me);
    let rig = Rig::start_with(rig.dir, &[id]).await;
    assert_eq!(state(&rig), RealState::Disabled, "over a restart, too");
}
