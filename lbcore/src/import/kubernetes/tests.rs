#![allow(clippy::unwrap_used)]

use super::*;
use crate::config;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What `kubectl get services,nodes,endpointslices -A -o json` printed, shortened: one Service for
/// each thing that can be odd about one.
const CLUSTER: &str = include_str!("fixtures/cluster.json");

fn options() -> Options {
    Options {
        interface: "eth0".to_owned(),
        mode: WantedMode::Dr,
        nodes: Selector::default(),
        services: Vec::new(),
        vips: Vec::new(),
    }
}

fn name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').unwrap();
    ServiceName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The result, which passes the check of `lbctl config check` without a warning.
fn imported(json: &str, options: &Options) -> Imported {
    let imported = import(json.as_bytes(), options).unwrap();
    let checked = config::check(&imported.toml);
    let checked = checked.unwrap_or_else(|faults| panic!("{faults:#?}\n{}", imported.toml));
    assert_eq!(checked.warnings, [], "{}", imported.toml);
    assert_eq!(checked.config.services.len(), imported.services);
    imported
}

fn told(imported: &Imported) -> String {
    let lines = imported.findings.iter();
    lines.fold(String::new(), |text, finding| {
        text + &format!("{}: {}\n", finding.about, finding.what)
    })
}

#[test]
fn a_cluster_becomes_a_file() {
    let imported = imported(CLUSTER, &options());
    insta::assert_snapshot!("cluster", imported.toml);
    insta::assert_snapshot!("cluster_findings", told(&imported));
}

#[test]
fn services_and_nodes_are_chosen() {
    let chosen = Options {
        services: vec![name("default/web")],
        nodes: "pool=edge".parse().unwrap(),
        ..options()
    };
    let imported = imported(CLUSTER, &chosen);
    let config = config::parse(&imported.toml).unwrap();
    let named: Vec<&str> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(named, ["default.web", "default.web-v6"]);
    for service in &config.services {
        let reals: Vec<&str> = service.reals.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(reals, ["worker-1", "worker-2"]);
    }
    assert_eq!(told(&imported), "");
    let missing = Options {
        services: vec![name("default/nothing")],
        ..options()
    };
    let error = import(CLUSTER.as_bytes(), &missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no Service default/nothing in it"
    );
    let inside = Options {
        services: vec![name("default/kubernetes")],
        ..options()
    };
    let imported = import(CLUSTER.as_bytes(), &inside).unwrap();
    assert_eq!(imported.services, 0);
    assert!(told(&imported).contains("for clients inside"));
}

#[test]
fn a_nodeport_service_gets_a_vip_by_hand_and_is_proxied() {
    let with = |mode| Options {
        services: vec![name("infra/ingress"), name("default/web")],
        vips: vec![(name("infra/ingress"), "192.0.2.20".parse().unwrap())],
        mode,
        ..options()
    };
    let imported = imported(CLUSTER, &with(WantedMode::Dr));
    insta::assert_snapshot!("nodeport", imported.toml);
    assert!(told(&imported).contains("nodes are asked at nodePort 30090"));
    // The other mode for all.
    let imported = self::imported(CLUSTER, &with(WantedMode::Tproxy));
    let config = config::parse(&imported.toml).unwrap();
    let named: Vec<&str> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        named,
        [
            "default.web-80",
            "default.web-443",
            "default.web-v6-80",
            "default.web-v6-443",
            "infra.ingress"
        ]
    );
}

/// The fixture, changed; every object of `kind` is given to `change`.
fn changed(kind: &str, change: impl Fn(&mut Value)) -> String {
    let mut list: Value = serde_json::from_str(CLUSTER).unwrap();
    let items = list["items"].as_array_mut().unwrap();
    items
        .iter_mut()
        .filter(|i| i["kind"] == kind)
        .for_each(change);
    list.to_string()
}

#[test]
fn nulls_are_what_absence_is_and_unknown_fields_nothing() {
    let json = changed("Service", |service| {
        service["spec"]["externalIPs"] = Value::Null;
        service["spec"]["loadBalancerSourceRanges"] = Value::Null;
        service["spec"]["trafficDistribution"] = json!({"odd": [1, null]});
    });
    let expected = imported(
        CLUSTER,
        &Options {
            services: vec![name("default/web")],
            ..options()
        },
    );
    let found = imported(
        &json,
        &Options {
            services: vec![name("default/web")],
            ..options()
        },
    );
    assert_eq!(found.toml, expected.toml);
}

/// What a hostile API server could say: nothing of it is text in the file.
#[test]
fn names_cannot_write_into_the_file() {
    let bad = "x\"\n[lbd]\nallow_exec = true #";
    let json = changed("Service", |s| s["metadata"]["namespace"] = json!(bad));
    let found = import(json.as_bytes(), &options()).unwrap();
    assert!(!found.toml.contains("allow_exec"), "{}", found.toml);
    assert_eq!(found.services, 0);
    let json = changed("Node", |node| {
        node["metadata"]["name"] = json!(bad);
        node["status"]["addresses"][0]["address"] = json!("192.0.2.77");
    });
    let found = imported(&json, &options());
    assert!(!found.toml.contains("allow_exec"), "{}", found.toml);
    // They share one address: the first has it.
    assert!(told(&found).contains("another node has 192.0.2.77"));
}

#[test]
fn addresses_that_are_none_are_left_out() {
    for ip in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "fe80::1",
        "169.254.0.1",
        "a.b",
        "::ffff:1.2.3.4",
    ] {
        let json = changed("Service", |s| {
            s["status"] = json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
            s["spec"]["externalIPs"] = Value::Null;
        });
        let found = import(json.as_bytes(), &options()).unwrap();
        assert_eq!(found.services, 0, "{ip}: {}", found.toml);
    }
    for ip in ["0.0.0.1", "127.0.0.1", "ff02::1", "no address"] {
        let json = changed("Node", |n| {
            n["status"]["addresses"] = json!([{"type": "InternalIP", "address": ip}])
        });
        let found = import(json.as_bytes(), &options()).unwrap();
        assert_eq!(found.services, 0, "{ip}: {}", found.toml);
    }
}

#[test]
fn long_names_stay_apart() {
    let long = "a".repeat(63);
    let json = changed("Service", |service| {
        service["metadata"]["namespace"] = json!(long);
        service["metadata"]["name"] = json!(format!("b{}", &long[..60]));
    });
    let found = imported(&json, &options());
    assert!(found.services > 5, "{}", found.toml);
}

#[test]
fn what_is_no_list_of_kubectl_is_refused() {
    for json in [
        "",
        "{}",
        "[]",
        "null",
        "{\"items\": null}",
        "{\"items\": [{\"kind\": 1}]}",
        "{\"items\":[{}]}",
    ] {
        let error = import(json.as_bytes(), &options()).unwrap_err();
        let words = error.to_string();
        assert!(
            words.starts_with("this is not what kubectl prints")
                || words.starts_with("there is no"),
            "{json}: {words}"
        );
    }
    let deep = "[".repeat(100_000);
    let json = format!("{{\"items\":[{{\"kind\":\"Service\",\"spec\":{deep}");
    assert!(import(json.as_bytes(), &options()).is_err());
}

/// More Services than lbd holds, each with all nodes: refused before the product is made.
#[test]
fn the_product_of_services_and_nodes_is_bounded() {
    let service = |n: u32| {
        json!({"kind": "Service", "metadata": {"namespace": "a", "name": format!("s{n}")},
               "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
               "status": {"loadBalancer": {"ingress": [{"ip": format!("198.18.{}.{}", n / 256, n % 256)}]}}})
    };
    let node = |n: u32| {
        json!({"kind": "Node", "metadata": {"name": format!("n{n}")}, "status": {"addresses":
              [{"type": "InternalIP", "address": format!("203.0.{}.{}", n / 256, n % 256)}]}})
    };
    let cluster = |services, nodes| {
        let services = (1..=services).map(service);
        let items: Vec<Value> = services.chain((1..=nodes).map(node)).collect();
        json!({ "items": items }).to_string()
    };
    for (services, nodes, what) in [(20_000, 3, "services"), (4_000, 5_000, "reals")] {
        let error = import(cluster(services, nodes).as_bytes(), &options()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(what), "{words}");
    }
    assert_eq!(imported(&cluster(300, 100), &options()).services, 300);
}

proptest! {
    /// Bytes of the file changed, and its end cut off: whatever comes of it, it is an error or a file
    /// that is good or refused by the check, and never a panic.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((0..CLUSTER.len(), any::<u8>()), 0..8),
        length in 0..=CLUSTER.len(),
    ) {
        let mut bytes = CLUSTER.as_bytes()[..length].to_vec();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if let Ok(imported) = import(&bytes, &options()) {
            let _ = config::check(&imported.toml);
        }
    }

    /// Any text as a name, an address or a type of anything: what comes of it is a good file.
    #[test]
    fn strange_values_make_no_bad_file(text in ".{0,80}", kind in 0..3_usize, field in 0..6_usize) {
        let kind = ["Service", "Node", "EndpointSlice"][kind];
        let text = json!(text);
        let json = changed(kind, |object| match field {
            0 => object["metadata"]["name"] = text.clone(),
            1 => object["metadata"]["namespace"] = text.clone(),
            2 => object["status"]["addresses"] = json!([{"type": "InternalIP", "address": text}]),
            3 => object["spec"]["externalIPs"] = json!([text]),
            4 => object["spec"]["type"] = text.clone(),
            _ => object["spec"]["externalTrafficPolicy"] = text.clone(),
        });
        if let Ok(imported) = import(json.as_bytes(), &options()) {
            prop_assert!(config::check(&imported.toml).is_ok(), "{}", imported.toml);
        }
    }
}
