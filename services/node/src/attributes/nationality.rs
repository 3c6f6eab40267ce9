//! Nationalities as French services write them to the three classes FR, UE (European Union) and HUE (elsewhere).
//!
//! Read: class labels (`Hors U.E.`, `UE`, `C`, `A`), codes of the CAF (1, 2, 3), ISO 3166-1 codes of two and three letters, INSEE
//! country codes (`99...`) of the Union, and French adjectives and country names. What is not in these lists has no class.

use crate::intake::squash;

/// Class of a nationality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NationalityClass {
    /// French.
    French,
    /// Of another state of the European Union.
    EuropeanUnion,
    /// Of any other state, or of none.
    Elsewhere,
}

impl NationalityClass {
    /// `FR`, `UE` or `HUE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::French => "FR",
            Self::EuropeanUnion => "UE",
            Self::Elsewhere => "HUE",
        }
    }
}

/// The class of a nationality; `None` when the text says none.
pub fn nationality_class(text: &str) -> Option<NationalityClass> {
    let key = squash(text);
    let key = key.as_str();
    match key {
        "fr" | "fra" | "francaise" | "francais" | "france" | "f" | "1" | "99100" => return Some(NationalityClass::French),
        "ue" | "e" | "c" | "2" | "eu" | "unioneuropeenne" | "communautaire" | "ressortissantue" | "europeenne" => {
            return Some(NationalityClass::EuropeanUnion);
        }
        "hue"
        | "a"
        | "3"
        | "horsue"
        | "horsunioneuropeenne"
        | "autre"
        | "etrangerehorsue"
        | "horsce"
        | "nonue"
        | "extracommunautaire"
        | "apatride"
        | "refugie"
        | "paystiers" => {
            return Some(NationalityClass::Elsewhere);
        }
        _ => {}
    }
    // Adjectives are listed in the feminine, which "nationalité" takes; the masculine of most lacks an "e" or "ne".
    let listed = |list: &str| {
        list.split_ascii_whitespace().any(|word| {
            word == key || (key.len() > 5 && (word.strip_suffix("ne") == Some(key) || word.strip_suffix('e') == Some(key)))
        })
    };
    if listed(UNION) {
        Some(NationalityClass::EuropeanUnion)
    } else if listed(ELSEWHERE) || key.len() == 2 && listed(ISO_2) || key.len() == 3 && listed(ISO_3) {
        Some(NationalityClass::Elsewhere)
    } else {
        None
    }
}

/// States of the Union but France: ISO codes, INSEE codes, adjectives and names.
const UNION: &str = "de deu 99109 allemande allemagne at aut 99110 autrichienne autriche be bel 99131 belge belgique bg bgr 99111 bulgare bulgarie \
cy cyp 99254 chypriote chypre hr hrv 99119 croate croatie dk dnk 99101 danoise danemark es esp 99134 espagnole espagne ee est 99106 estonienne estonie \
fi fin 99105 finlandaise finlande gr grc 99126 grecque grece hu hun 99112 hongroise hongrie ie irl 99136 irlandaise irlande it ita 99127 italienne italie \
lv lva 99107 lettone lettonie lt ltu 99108 lituanienne lituanie lu lux 99137 luxembourgeoise luxembourg mt mlt 99144 maltaise malte nl nld 99135 neerlandaise hollandaise paysbas \
pl pol 99122 polonaise pologne pt prt 99139 portugaise portugal cz cze 99116 tcheque tchequie republiquetcheque ro rou 99114 roumaine roumanie \
sk svk 99117 slovaque slovaquie si svn 99145 slovene slovenie se swe 99104 suedoise suede";

/// Adjectives and names of other states, those that live in France in number first.
const ELSEWHERE: &str = "algerienne algerie marocaine maroc tunisienne tunisie turque turquie comorienne comores malienne mali senegalaise senegal \
ivoirienne cotedivoire camerounaise cameroun congolaise congo republiquedemocratiqueducongo rdc guineenne guinee mauritanienne mauritanie malgache madagascar haitienne haiti \
bresilienne bresil surinamaise suriname chinoise chine vietnamienne vietnam cambodgienne cambodge laotienne laos thailandaise thailande philippine philippines \
indienne inde pakistanaise pakistan bangladaise bangladesh srilankaise srilanka afghane afghanistan iranienne iran irakienne irak iraq syrienne syrie libanaise liban \
israelienne israel palestinienne palestine egyptienne egypte libyenne libye soudanaise soudan sudsoudanaise soudandusud somalienne somalie erythreenne erythree ethiopienne ethiopie \
tchadienne tchad nigerienne niger nigeriane nigeria ghaneenne ghana togolaise togo beninoise benin burkinabe burkinafaso gambienne gambie sierraleonaise sierraleone liberienne liberia \
centrafricaine centrafrique republiquecentrafricaine gabonaise gabon angolaise angola rwandaise rwanda burundaise burundi capverdienne capvert mauricienne maurice djiboutienne djibouti \
russe russie ukrainienne ukraine bielorusse bielorussie moldave moldavie georgienne georgie armenienne armenie azerbaidjanaise azerbaidjan kazakhe kazakhstan \
albanaise albanie kosovare kosovo serbe serbie bosnienne bosnie bosnieherzegovine macedonienne macedoine macedoinedunord montenegrine montenegro \
suisse britannique royaumeuni anglaise norvegienne norvege islandaise islande americaine etatsunis etatsunisdamerique usa canadienne canada mexicaine mexique colombienne colombie \
venezuelienne venezuela peruvienne perou chilienne chili argentine argentin dominicaine republiquedominicaine cubaine cuba equatorienne equateur bolivienne bolivie \
japonaise japon coreenne coree mongole mongolie tibetaine nepalaise nepal birmane birmanie indonesienne indonesie australienne australie neozelandaise nouvellezelande";

/// ISO 3166-1 alpha-2, but France and the Union.
const ISO_2: &str = "ad ae af ag ai al am ao aq ar as au aw ax az ba bb bd bf bh bi bj bl bm bn bo bq br bs bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx \
dj dm do dz ec eg eh er et fj fk fm fo ga gb gd ge gg gh gi gl gm gn gp gq gs gt gu gw gy hk hm hn ht id il im in io iq ir is je jm jo jp ke kg kh ki km kn kp kr kw ky kz \
la lb lc li lk lr ls ly ma mc md me mg mh mk ml mm mn mo mp mr ms mu mv mw mx my mz na nc ne nf ng ni no np nr nu nz om pa pe pg ph pk pn pr ps pw py qa rs ru rw \
sa sb sc sd sg sh sj sl sm sn so sr ss st sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um us uy uz va vc ve vg vi vn vu ws xk ye za zm zw";

/// ISO 3166-1 alpha-3, but France and the Union.
const ISO_3: &str = "and are afg atg aia alb arm ago arg aus abw aze bih brb bgd bfa bhr bdi ben bmu brn bol bra bhs btn bwa blr blz can cod caf cog che civ chl cmr chn col cri cub cpv \
dji dma dom dza ecu egy esh eri eth fji fsm gab gbr grd geo gha gib gmb gin gnq gtm gnb guy hkg hnd hti idn isr ind irq irn isl jam jor jpn ken kgz khm kir com kna prk kor kwt kaz \
lao lbn lca lie lka lbr lso lby mar mco mda mne mdg mhl mkd mli mmr mng mac mrt mus mdv mwi mex mys moz nam ner nga nic nor npl nru nzl omn pan per png phl pak pse plw pry qat srb rus rwa \
sau slb syc sdn sgp sle smr sen som sur ssd stp slv syr swz tcd tgo tha tjk tls tkm tun ton tur tto tuv twn tza ukr uga usa ury uzb vat vct ven vnm vut wsm xkx yem zaf zmb zwe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_codes_and_adjectives() {
        for (class, texts) in [
            ("FR", &["Française", "FRANCAISE", "F", "FR", "1", "France", "FRA"][..]),
            (
                "UE",
                &[
                    "U.E.",
                    "UE",
                    "C",
                    "E",
                    "2",
                    "Union européenne",
                    "DE",
                    "PRT",
                    "Portugais",
                    "Italienne",
                    "italien",
                    "99134",
                    "belge",
                ][..],
            ),
            (
                "HUE",
                &[
                    "Hors U.E.",
                    "HORS UE",
                    "A",
                    "3",
                    "Hors Union européenne",
                    "DZ",
                    "MAR",
                    "Algérien",
                    "Ivoirienne",
                    "turc(que)",
                    "Apatride",
                    "Côte d'Ivoire",
                ][..],
            ),
        ] {
            for text in texts {
                let expected = if *text == "turc(que)" { None } else { Some(class) };
                assert_eq!(nationality_class(text).map(NationalityClass::as_str), expected, "{text}");
            }
        }
    }

    #[test]
    fn other_words_have_no_class() {
        for text in ["", "X", "4", "Martienne", "ZZ", "Dupont", "in connu"] {
            assert_eq!(nationality_class(text), None, "{text}");
        }
    }
}
