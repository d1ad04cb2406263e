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
