//! Origins: where a family comes from, what its names are, and how French desks write them.
//!
//! Common names only, written down by hand for this file; no list describes a person. Spellings of one name are
//! separated by `/`, the most usual one first. Countries carry INSEE's code (Code officiel géographique, pays).

/// A country of birth.
pub(crate) struct Country {
    /// INSEE's upper-case name.
    pub(crate) name: &'static str,
    /// INSEE's five-digit code, `99xxx`.
    pub(crate) code: &'static str,
    /// Whether it is in the European Union, Iceland, Liechtenstein, Norway or Switzerland.
    pub(crate) european_union: bool,
    /// Places of birth.
    pub(crate) cities: &'static [&'static str],
}

/// What a family's names, papers and places are drawn from.
pub(crate) struct Origin {
    /// Its word in `truth_persons.csv`.
    pub(crate) key: &'static str,
    /// Share of households, per mille.
    pub(crate) weight: u32,
    /// Share of adults born abroad.
    pub(crate) born_abroad: f64,
    /// Of those born abroad, share without papers.
    pub(crate) without_papers: f64,
    /// Of those without papers, share whose date of birth is a default one (a sixth as many among the others).
    pub(crate) default_date: f64,
    /// Share of persons with two surnames.
    pub(crate) two_surnames: f64,
    /// Share of given names from the French tables, among those born in France.
    pub(crate) french_given: f64,
    /// Countries by code, with weights.
    pub(crate) countries: &'static [(&'static str, u32)],
    /// Surnames.
    pub(crate) surnames: &'static [&'static str],
    /// Starts (`BEN*`) and ends (`*SKI`) of INSEE surnames that widen the list.
    pub(crate) patterns: &'static [&'static str],
    /// Given names of men.
    pub(crate) men: &'static [&'static str],
    /// Given names of women.
    pub(crate) women: &'static [&'static str],
}

macro_rules! countries {
    ($($name:literal $code:literal $eu:literal [$($city:literal)*])*) => {
        &[$(Country { name: $name, code: $code, european_union: $eu, cities: &[$($city),*] }),*]
    };
}

/// Every country that an origin names.
pub(crate) const COUNTRIES: &[Country] = countries! {
    "ALGERIE" "99352" false ["ALGER" "ORAN" "CONSTANTINE" "TIZI OUZOU" "MOSTAGANEM" "BEJAIA" "SETIF"]
    "MAROC" "99350" false ["CASABLANCA" "RABAT" "FES" "OUJDA" "NADOR" "MEKNES" "MARRAKECH"]
    "TUNISIE" "99351" false ["TUNIS" "SFAX" "BIZERTE" "ZARZIS" "GABES"]
    "MALI" "99335" false ["BAMAKO" "KAYES" "YELIMANE" "SEGOU"]
    "SENEGAL" "99341" false ["DAKAR" "THIES" "TAMBACOUNDA" "ZIGUINCHOR"]
    "GUINEE" "99330" false ["CONAKRY" "KINDIA" "LABE" "KANKAN" "MAMOU"]
    "COTE D'IVOIRE" "99326" false ["ABIDJAN" "BOUAKE" "DALOA" "KORHOGO"]
    "GAMBIE" "99304" false ["BANJUL" "SERREKUNDA"]
    "MAURITANIE" "99336" false ["NOUAKCHOTT" "SELIBABY"]
    "NIGERIA" "99338" false ["LAGOS" "BENIN CITY"]
    "CAMEROUN" "99322" false ["DOUALA" "YAOUNDE" "BAFOUSSAM"]
    "CONGO (REPUBLIQUE DEMOCRATIQUE)" "99312" false ["KINSHASA" "GOMA" "LUBUMBASHI"]
    "CONGO" "99324" false ["BRAZZAVILLE" "POINTE NOIRE"]
    "GABON" "99328" false ["LIBREVILLE"]
    "PORTUGAL" "99139" true ["PORTO" "BRAGA" "LISBONNE" "VISEU"]
    "ESPAGNE" "99134" true ["MADRID" "VALENCE" "ALMERIA" "BARCELONE"]
    "ITALIE" "99127" true ["NAPLES" "TURIN" "PALERME"]
    "ROUMANIE" "99114" true ["BUCAREST" "TIMISOARA" "CRAIOVA"]
    "BULGARIE" "99111" true ["SOFIA" "PLOVDIV"]
    "POLOGNE" "99122" true ["VARSOVIE" "LODZ"]
    "ALBANIE" "99125" false ["TIRANA" "SHKODER" "DURRES"]
    "GEORGIE" "99255" false ["TBILISSI" "KOUTAISSI"]
    "ARMENIE" "99252" false ["EREVAN" "GYUMRI" "VANADZOR"]
    "UKRAINE" "99155" false ["KIEV" "KHARKIV" "ODESSA"]
    "RUSSIE" "99123" false ["GROZNY" "MOSCOU"]
    "HAITI" "99410" false ["PORT AU PRINCE" "LES CAYES" "GONAIVES"]
    "AFGHANISTAN" "99212" false ["KABOUL" "NANGARHAR" "KUNDUZ" "BAGHLAN"]
    "PAKISTAN" "99213" false ["GUJRAT" "LAHORE" "PESHAWAR"]
    "BANGLADESH" "99246" false ["DHAKA" "SYLHET"]
    "SOUDAN" "99343" false ["EL GENEINA" "KHARTOUM" "NYALA"]
    "ERYTHREE" "99317" false ["ASMARA" "KEREN"]
    "SOMALIE" "99318" false ["MOGADISCIO"]
    "ETHIOPIE" "99315" false ["ADDIS ABEBA"]
    "VIET NAM" "99243" false ["HO CHI MINH VILLE" "HANOI"]
    "CHINE" "99216" false ["WENZHOU" "TIANJIN"]
    "SRI LANKA" "99235" false ["JAFFNA" "COLOMBO"]
    "CAMBODGE" "99234" false ["PHNOM PENH" "BATTAMBANG"]
    "TURQUIE" "99208" false ["ISTANBUL" "ANKARA" "KAYSERI" "GAZIANTEP"]
    "SYRIE" "99206" false ["ALEP" "DAMAS" "HOMS"]
    "COMORES" "99397" false ["MORONI" "MUTSAMUDU" "FOMBONI"]
    "MADAGASCAR" "99333" false ["ANTANANARIVO" "MAJUNGA"]
};

/// The first origin: French names by INSEE frequency.
pub(crate) const METROPOLE: usize = 0;

/// Every origin.
pub(crate) const ORIGINS: &[Origin] = &[
    Origin {
        key: "metropole", weight: 540, born_abroad: 0.02, without_papers: 0.0, default_date: 0.0, two_surnames: 0.02, french_given: 1.0,
        countries: &[("99352", 4), ("99350", 3), ("99134", 2), ("99127", 1)],
        surnames: &[], patterns: &[], men: &[], women: &[],
    },
    Origin {
        key: "maghreb", weight: 170, born_abroad: 0.55, without_papers: 0.25, default_date: 0.12, two_surnames: 0.0, french_given: 0.2,
        countries: &[("99352", 45), ("99350", 35), ("99351", 20)],
        surnames: &[
            "BENALI/BEN ALI", "BELKACEM/BELKASSEM/BEL KACEM", "BOUDIAF/BOUDHIAF", "BENSAID/BEN SAID", "MANSOURI/MANSURI/MANSOURY",
            "SAIDI/SAÏDI/SAYDI", "HADDAD/HADAD", "KHELIFI/KHLIFI/KHELIFFI", "CHERIF/CHÉRIF/SHERIF", "AMRANI/AMRANY/EL AMRANI", "ALAOUI/EL ALAOUI",
            "BERRADA/BERADA", "IDRISSI/EL IDRISSI/IDRISI", "BENNANI/BENANI", "TAZI/TAZY", "OUALI/WALI", "ZEROUAL/ZERWAL/ZEROUALI", "HAMDI/HAMDY",
            "TRABELSI/TRABELSSI", "JAZIRI/JAZIRY/DJAZIRI", "GHARBI/RHARBI/GARBI", "MEZIANE/MEZIANI/MEZYAN", "BRAHIMI/IBRAHIMI/BRAHMI",
            "RAHMANI/RAHMANY", "KADDOUR/KADOUR/KADDUR", "MOUSSAOUI/MOUSSAWI/MOUSAOUI", "LARBI/EL ARBI/LAARBI", "AZZOUZ/AZOUZ/AZZOUZI",
            "BOUZID/BOUZIDI/BOUSID", "DJELLOUL/JELLOUL", "YAHIAOUI/YAHYAOUI", "TAHAR/TAHER/TAHRI", "SLIMANI/SLIMANE/SOULIMANI",
            "FERHAT/FARHAT", "HAMIDI/HAMIDY", "CHAOUI/CHAWI", "NACIRI/NASSIRI/NASIRI", "LAHLOU/LAHLU", "OUAZZANI/EL OUAZZANI/WAZZANI",
            "BOUAZZA/BOUAZA", "MERABET/MERRABET", "HACHEMI/HASHEMI/EL HACHEMI", "AISSAOUI/AÏSSAOUI/ISSAOUI", "GUERFI/GARFI", "DRISSI/DRISI",
        ],
        patterns: &["BENA*", "BENK*", "BENH*", "BENS*", "BENM*", "BENZ*", "BENY*", "BOUA*", "BOUH*", "BOUK*", "BOUZ*", "BOUDJ*", "BELK*", "BELH*", "EL *", "AIT *", "OULD *", "BEN *", "*AOUI", "HADJ*", "KHE*", "OUA*"],
        men: &[
            "Mohamed/Mohammed/Mouhamed/Mohamad/Muhammad", "Ahmed/Ahmad/Hamed", "Youssef/Yousef/Youcef/Yusuf", "Karim/Kareem", "Rachid/Rashid", "Said/Saïd/Sayed",
            "Abdelkader/Abd El Kader/Abdelqader", "Abdelaziz/Abdel Aziz/Abdelazziz", "Abdallah/Abdullah/Abdellah", "Mustapha/Mostafa/Moustapha/Mustafa",
            "Ali/Aly", "Hassan/Hasan/Hassen", "Hussein/Houcine/Hocine/Hossein", "Omar/Omer/Amar", "Khaled/Khalid", "Bilal/Bilel/Billal", "Ilyes/Ilyas/Elias",
            "Nabil/Nabyl", "Mehdi/Mahdi/Medhi", "Samir/Sameer", "Kamel/Kamal", "Farid/Fareed", "Djamel/Jamel/Jamal", "Mourad/Murad", "Lakhdar/Lakdar",
            "Noureddine/Nordine/Nour Eddine", "Salah/Saleh", "Brahim/Ibrahim/Ibrahima", "Hamza/Hamzah", "Anis/Aniss", "Zakaria/Zakariya/Zacharia", "Tarik/Tarek/Tariq",
            "Redouane/Redwane/Ridwan", "Sofiane/Soufiane/Sofian", "Walid/Oualid", "Yacine/Yassine/Yasin", "Ayoub/Ayub", "Rayan/Rayane/Rayhan",
        ],
        women: &[
            "Fatima/Fatma/Fatema/Fatiha", "Khadija/Khadidja/Kadija", "Aicha/Aïcha/Aisha", "Zohra/Zahra/Zohrah", "Malika/Melika", "Nadia/Nadya", "Samira/Samyra",
            "Fatima Zahra/Fatima-Zohra/Fatimazahra", "Yamina/Yamna", "Naima/Naïma/Nayma", "Karima/Kareema", "Leila/Leïla/Layla/Lila", "Houria/Horia", "Rachida/Rashida",
            "Hafida/Hafeda", "Saida/Saïda", "Amina/Amyna/Emina", "Meriem/Mariam/Maryam/Myriam", "Soraya/Souraya", "Djamila/Jamila", "Nassima/Nacima", "Hayat/Hayet",
            "Souad/Suad", "Latifa/Latefa", "Imane/Iman", "Salma/Selma", "Sara/Sarah", "Ines/Inès/Inesse", "Nour/Nur", "Asma/Asmaa/Esma", "Wafa/Ouafa", "Hanane/Hanan",
            "Lamia/Lamya", "Dounia/Dunia/Donia", "Yasmine/Yasmina/Yassmine", "Rania/Ranya", "Chaima/Chaïma/Shaima", "Hajar/Hajer",
        ],
    },
    Origin {
        key: "afrique_ouest", weight: 82, born_abroad: 0.7, without_papers: 0.45, default_date: 0.4, two_surnames: 0.0, french_given: 0.2,
        countries: &[("99335", 25), ("99341", 20), ("99330", 23), ("99326", 20), ("99304", 5), ("99336", 4), ("99338", 6)],
        surnames: &[
            "DIALLO/DIALO/JALLOW/DIALLOH", "TRAORE/TRAORÉ/TRAOURE", "COULIBALY/KOULIBALY/COULIBALI", "KEITA/KEÏTA/KEYTA", "DIARRA/DIARA/DJARRA", "BAH/BA/BARH",
            "BARRY/BARI/BARY", "SOW/SO/SAW", "CAMARA/KAMARA", "CONDE/CONDÉ/KONDE", "SYLLA/SILLA", "TOURE/TOURÉ/THURE", "CISSE/CISSÉ/SISSE", "KONE/KONÉ/CONE",
            "DIOP/DIOPP/JOOP", "NDIAYE/N'DIAYE/NDIAY", "FALL/FAL", "GUEYE/GUEYÉ/GAYE", "SARR/SAR", "MBAYE/M'BAYE", "FOFANA/FOFANNA", "DOUMBIA/DUMBIA/DOUMBYA",
            "SIDIBE/SIDIBÉ", "SISSOKO/CISSOKO/SISSOKHO", "DEMBELE/DEMBÉLÉ/DEMBELLE", "OUATTARA/WATTARA", "BAMBA/BANBA", "KOUYATE/KOUYATÉ/KUYATE", "GASSAMA/GASAMA",
            "SANGARE/SANGARÉ", "DANSO/DANSOU", "CEESAY/CISSAY", "KOUASSI/KUASSI", "KOFFI/COFFI", "YAO/YAHO", "DIABY/DIABI/DJABY", "SOUMAH/SUMAH", "BANGOURA/BANGURA",
            "SAMAKE/SAMAKÉ", "OUEDRAOGO/OUÉDRAOGO/WEDRAOGO", "OKAFOR/OKAFFOR", "ADEYEMI/ADEYEMY", "TOUNKARA/TUNKARA", "DRAME/DRAMÉ/DRAMMEH",
        ],
        patterns: &[],
        men: &[
            "Mamadou/Mamadu/Amadou", "Ibrahima/Ibrahim/Brahima", "Ousmane/Usman/Ousman", "Moussa/Musa/Mousa", "Abdoulaye/Abdoulay/Abdulai", "Amadou/Ahmadou/Amadu",
            "Boubacar/Boubakar/Aboubacar", "Souleymane/Suleyman/Soulaymane", "Cheikh/Cheick/Sheikh", "Modou/Modu", "Lamine/Lamin/Lamina", "Bakary/Bakari/Bacary",
            "Alpha Oumar/Alpha Omar", "Mamadou Saliou/Mamadou Saliu", "Mohamed Lamine/Mohamed Lamin", "Thierno/Tierno", "Alassane/Alhassane/Lassana", "Seydou/Seydu/Saidou",
            "Adama/Adamah", "Issa/Isa", "Youssouf/Yousouf/Yussuf", "Sekou/Sékou/Seckou", "Drissa/Idrissa/Drisa", "Demba/Denba", "Fode/Fodé/Foday", "Samba/Sanba",
            "Kouadio/Kuadio", "Emmanuel/Emanuel", "Daouda/Dauda/Dawuda", "Aliou/Alieu/Alioune",
        ],
        women: &[
            "Fatoumata/Fatimata/Fatumata", "Aminata/Aminatta/Amynata", "Mariama/Mariam/Mariame", "Aissatou/Aïssatou/Aissata", "Kadiatou/Kadiatu/Khadiatou", "Awa/Hawa/Haoua",
            "Oumou/Oumu/Umu", "Fanta/Fantah", "Binta/Bintou/Bineta", "Djeneba/Dieneba/Djénéba", "Rokia/Rokhaya/Rokya", "Assetou/Assitan", "Ramatoulaye/Ramata",
            "Ndeye/Ndèye/N'Deye", "Coumba/Kumba/Koumba", "Sira/Syra", "Nana/Nanah", "Salimata/Salimatou", "Maimouna/Maïmouna/Maymuna", "Adjoua/Adjua", "Blessing/Blesing",
            "Mata/Matta", "Safiatou/Safiatu", "Fatou/Fatu", "Astou/Astu", "Khady/Kady/Khadi", "Hadja/Adja",
        ],
    },
    Origin {
        key: "afrique_centrale", weight: 40, born_abroad: 0.68, without_papers: 0.35, default_date: 0.06, two_surnames: 0.25, french_given: 0.55,
        countries: &[("99312", 45), ("99322", 28), ("99324", 19), ("99328", 8)],
        surnames: &[
            "ILUNGA/ILOUNGA", "MBALA/M'BALA/MBALLA", "KABONGO/KABONGHO", "NSIMBA/SIMBA", "MUTOMBO/MOUTOMBO", "KASONGO/KASSONGO", "TSHIBANDA/TCHIBANDA", "LUKAKU/LOUKAKOU",
            "MAKIESE/MAKIESSE", "NGOY/NGOIE/N'GOY", "ESSOMBA/ESOMBA", "MBARGA/M'BARGA", "ATANGANA/ATANGANNA", "NGUEMA/N'GUEMA", "FOTSO/FOTSOH", "KAMGA/KANGA",
            "NGONO/N'GONO", "TCHOUPO/TCHUPO", "MBEMBA/M'BEMBA", "LOEMBA/LOUEMBA", "NKOUNKOU/N'KOUNKOU/NKUNKU", "MALONGA/MALONGHA", "SAMBA/SANBA", "MOUKOKO/MUKOKO",
            "MPIANA/M'PIANA", "KALALA/KALLALA", "LUBAKI/LOUBAKI", "BATANGA/BATANGUA", "ESSONGA/ESONGA", "DIKA/DIKKA", "NZUZI/NZOUZI", "KIALA/KYALA",
        ],
        patterns: &[],
        men: &["Jean/Jehan", "Patrick/Patrik", "Christian/Cristian", "Dieudonne/Dieudonné", "Serge", "Junior/Juniore", "Herve/Hervé", "Gloire", "Exauce/Exaucé", "Fiston", "Trésor/Tresor", "Héritier/Heritier", "Blaise/Blaize", "Cedric/Cédric", "Prince", "Jean Pierre/Jean-Pierre", "Merveil", "Desire/Désiré"],
        women: &["Marie", "Grace/Grâce", "Merveille/Merveil", "Chancelle/Chancel", "Esther/Ester", "Nadege/Nadège", "Solange", "Clarisse/Clarice", "Henriette", "Rachel/Rachelle", "Divine", "Sylvie/Silvie", "Carine/Karine", "Mireille", "Bénédicte/Benedicte", "Ruth", "Plamedie/Plamedi", "Marie Claire/Marie-Claire"],
    },
    Origin {
        key: "europe_sud", weight: 30, born_abroad: 0.35, without_papers: 0.0, default_date: 0.0, two_surnames: 0.5, french_given: 0.55,
        countries: &[("99139", 50), ("99134", 35), ("99127", 15)],
        surnames: &[
            "DA SILVA/DASILVA/SILVA", "FERREIRA/FEREIRA", "PEREIRA/PERREIRA", "RODRIGUES/RODRIGUEZ", "DOS SANTOS/DOSSANTOS/SANTOS", "MARTINS/MARTIN", "GOMES/GOMEZ", "LOPES/LOPEZ",
            "GONCALVES/GONÇALVES/GONCALVEZ", "ALVES/ALVEZ", "TAVARES/TAVAREZ", "DA COSTA/DACOSTA/COSTA", "DE OLIVEIRA/OLIVEIRA", "DE SOUSA/DE SOUZA/SOUSA", "CARVALHO/DE CARVALHO",
            "GARCIA/GARCÍA", "MARTINEZ/MARTÍNEZ/MARTINES", "SANCHEZ/SÁNCHEZ/SANCHES", "FERNANDEZ/FERNANDES", "PEREZ/PERES", "JIMENEZ/GIMENEZ", "RUIZ/RUIS", "MORENO", "NAVARRO/NAVARO",
            "ROSSI/ROSI", "RUSSO/RUSO", "ESPOSITO/ESPOZITO", "ROMANO", "GIUDICELLI/GUIDICELLI", "FERRARI/FERARI",
        ],
        patterns: &["DA *", "DOS *", "*EIRA", "*INHO", "*GUEZ", "*ELLI"],
        men: &["Jose/José", "Antonio/António", "Manuel/Manoel", "Joao/João", "Carlos", "Luis/Luís/Louis", "Francisco", "Paulo/Paolo", "Miguel", "Pedro", "Jorge", "Rui", "Juan", "Angel/Ángel", "Giuseppe", "Salvatore", "Marco", "Tiago/Thiago"],
        women: &["Maria/María", "Ana/Anna", "Isabel/Isabelle", "Fernanda", "Manuela", "Carmen", "Dolores/Dolorès", "Teresa/Thérésa", "Rosa", "Cristina/Christina", "Sofia", "Paula", "Lucia/Lucía", "Elvira", "Giulia", "Francesca", "Jessica/Jéssica", "Maria Fatima/Maria de Fatima"],
    },
    Origin {
        key: "europe_est", weight: 34, born_abroad: 0.85, without_papers: 0.3, default_date: 0.01, two_surnames: 0.02, french_given: 0.2,
        countries: &[("99114", 24), ("99111", 8), ("99122", 5), ("99125", 17), ("99255", 16), ("99252", 14), ("99155", 8), ("99123", 8)],
        surnames: &[
            "POPESCU/POPESCOU", "IONESCU/IONESCOU", "DUMITRU/DUMITROU", "STAN", "LACATUS/LACATUSH", "RADU/RADOU", "GHEORGHE/GEORGHE", "CIOBANU/TCHIOBANU", "MARIN", "DIMITROV/DIMITROFF",
            "IVANOV/IVANOFF", "PETROV/PETROFF", "NOWAK/NOVAK", "KOWALSKI/KOVALSKI", "HOXHA/HODJA", "GASI/GASHI", "PREKA", "LLESHI/LESHI", "BREGU", "KAPANADZE/KAPANADZÉ",
            "BERIDZE/BERIDZÉ", "GELASHVILI/GUELACHVILI", "LOMIDZE", "SARGSYAN/SARKISSIAN/SARGSIAN", "HARUTYUNYAN/AROUTIOUNIAN", "GRIGORYAN/GRIGORIAN", "PETROSYAN/PETROSSIAN",
            "SHEVCHENKO/CHEVTCHENKO", "KOVALENKO/KOWALENKO", "MAGOMADOV/MAGOMADOFF", "DUDAEV/DOUDAIEV", "BONDARENKO",
        ],
        patterns: &["*SKI", "*ESCU", "*OVIC", "*SIAN"],
        men: &["Ion/Ioan", "Vasile/Vassile", "Florin", "Marian/Mariane", "Alexandru/Alexandrou", "Georgi/Gueorgui/Giorgi", "Dimitar/Dimitri", "Ivan", "Artur/Arthur", "Armen", "Hovhannes/Hovanes", "Davit/David", "Levan", "Zurab/Zourab", "Ardit", "Besnik", "Altin", "Andriy/Andrii/Andrei", "Oleksandr/Alexandre/Aleksandr", "Sergiy/Serguei/Sergey", "Rustam/Roustam", "Adam"],
        women: &["Elena/Yelena/Helena", "Maria/Mariya", "Ioana/Joana", "Mihaela/Michaela", "Daniela/Daniella", "Nina", "Nino", "Ketevan/Ketevane", "Tamar/Tamara", "Anahit/Anahite", "Gayane/Gayané", "Narine", "Mirela/Mirella", "Valbona", "Olena/Oléna", "Natalia/Nataliya/Natalya", "Oksana/Oxana", "Svitlana/Svetlana", "Zarema", "Petya/Petia"],
    },
    Origin {
        key: "antilles", weight: 24, born_abroad: 0.3, without_papers: 0.3, default_date: 0.03, two_surnames: 0.05, french_given: 0.85,
        countries: &[("99410", 1)],
        surnames: &["JEAN", "PIERRE/PIERE", "JOSEPH/JOSEF", "CHARLES/CHARLE", "LOUIS", "JEAN-BAPTISTE/JEAN BAPTISTE", "JEAN-LOUIS/JEAN LOUIS", "SAINT-LOUIS/ST LOUIS", "FRANCOIS/FRANÇOIS", "ETIENNE/ÉTIENNE", "CELESTIN/CÉLESTIN", "DORVIL/DORVILLE", "ALEXIS", "LAFORTUNE", "SAINVIL/SAINTVIL", "DESIR/DÉSIR", "BIENAIME/BIENAIMÉ", "AUGUSTIN/AUGUSTE", "NARCISSE", "TOUSSAINT", "HIPPOLYTE/HYPPOLITE", "SAINT-ALBIN/ST ALBIN"],
        patterns: &["SAINT-*", "JEAN-*", "MARIE-*"],
        men: &["Jean Robert/Jean-Robert", "Wilner", "Frantz/Franz", "Evens", "Mackenson", "Jocelyn/Joscelin", "Fritz", "Jimmy/Jimi", "Ralph", "Islande"],
        women: &["Marie Ange/Marie-Ange", "Rose Merline/Rose-Merline", "Guerda/Gerda", "Mirlande", "Nadine/Nadyne", "Fabienne", "Wideline", "Yolette/Yolaine", "Ketty/Kettly", "Manoucheka/Manouchka"],
    },
    Origin {
        key: "afghanistan_pakistan", weight: 24, born_abroad: 0.96, without_papers: 0.35, default_date: 0.75, two_surnames: 0.05, french_given: 0.05,
        countries: &[("99212", 70), ("99213", 20), ("99246", 10)],
        surnames: &["AHMADZAI/AHMADZAY/AHMAD ZAI", "STANIKZAI/STANEKZAI/STANIKZAY", "SAFI/SAFFI", "SHINWARI/CHINWARI", "NOORI/NOURI/NURI", "HOTAK/HOTAKI", "KHAN/KAHN", "AMIRI/AMIRY", "RAHIMI/RAHIMY", "HAIDARI/HAYDARI/HEIDARI", "SAMIULLAH/SAMI ULLAH/SAMIOULLAH", "ZAZAI/ZAZAY", "MOHMAND/MOMAND", "YOUSAFZAI/YOUSUFZAI", "NASERI/NASSERI", "KARIMI/KARIMY", "SINGH/SING", "HUSSAIN/HUSSEIN", "MAHMOOD/MAHMOUD/MEHMOOD", "UDDIN/OUDDIN", "MIAH/MIA", "HOSSAIN/HOSSEIN", "JABARKHEL/JABAR KHEL", "OMARKHIL/OMARKHEL"],
        patterns: &[],
        men: &["Mohammad/Mohamad/Mohammed", "Abdul/Abdoul", "Najibullah/Najib Ullah/Nadjibullah", "Samiullah/Sami Ullah", "Zabihullah/Zabiullah", "Ahmad/Ahmed", "Rahmatullah/Rahmat Ullah", "Noor/Nour", "Farhad/Farad", "Jawad/Djawad", "Hamid/Hameed", "Sher/Chir", "Gul/Goul", "Muhammad/Mohamed", "Asif/Assif", "Imran/Emran", "Habibullah/Habib Ullah", "Esmatullah/Ismatullah"],
        women: &["Zahra/Zara", "Fatima/Fatema", "Shabnam/Chabnam", "Maryam/Mariam", "Zainab/Zeinab/Zaynab", "Nasrin/Nassrin", "Parwana/Parvana", "Farzana", "Shukria/Choukria", "Razia/Raziya", "Ayesha/Aicha", "Bibi/Bibi Gul"],
    },
    Origin {
        key: "corne_soudan", weight: 22, born_abroad: 0.95, without_papers: 0.35, default_date: 0.6, two_surnames: 0.35, french_given: 0.05,
        countries: &[("99343", 40), ("99317", 28), ("99318", 24), ("99315", 8)],
        surnames: &["ADAM/ADEM/ADAME", "ABDALLA/ABDALLAH/ABDULLA", "IBRAHIM/IBRAHEEM", "AHMED/AHMAD", "MOHAMED/MOHAMMED", "OSMAN/OUSMAN/OTHMAN", "ISMAIL/ISMAEL/ESMAIL", "HASSAN/HASAN", "ALI/ALY", "KHATIR/KHATER", "BAKHIT/BAKHEET", "SULEIMAN/SOULEIMAN/SULIEMAN", "TESFAY/TESFAI/TESFAYE", "KIDANE/KIDANÉ", "GEBREMEDHIN/GEBRE MEDHIN/GHEBREMEDHIN", "HAILE/HAILÉ/HAYLE", "WELDU/WOLDU", "TEKLE/TECLE", "ABDI/ABDY", "FARAH/FARA", "WARSAME/WARSAMA", "NUR/NOUR", "YUSUF/YOUSSOUF", "JAMA/DJAMA", "HARUN/HAROUN", "ARBAB/ARBABE"],
        patterns: &[],
        men: &["Mohamed/Mohammed/Mohammad", "Adam/Adem", "Ibrahim/Ebrahim", "Abdalla/Abdallah", "Elsadig/El Sadig/Alsadig", "Yasir/Yassir/Yaser", "Bashir/Bachir", "Mubarak/Moubarak", "Salih/Saleh", "Tesfay/Tesfaye", "Yonas/Yunas", "Filmon/Philmon", "Samuel/Samuele", "Abdirahman/Abdurahman/Abdi Rahman", "Abdullahi/Abdoulahi", "Mustafa/Mustapha", "Ismail/Ismael", "Ahmed/Ahmad"],
        women: &["Amina/Aamina", "Halima/Haleema", "Fatuma/Fatouma/Fadumo", "Hawa/Haoua", "Selam/Salam", "Rahel/Rachel", "Helen/Hellen", "Mihret/Meheret", "Hodan/Hodane", "Sahra/Zahra", "Asha/Aicha", "Khadija/Kadija", "Semhar/Semhare", "Nebiyat/Nebyat"],
    },
    Origin {
        key: "asie", weight: 17, born_abroad: 0.55, without_papers: 0.15, default_date: 0.1, two_surnames: 0.05, french_given: 0.55,
        countries: &[("99243", 35), ("99216", 30), ("99235", 20), ("99234", 15)],
        surnames: &["NGUYEN/N'GUYEN/NGUYN", "TRAN/TRANG", "LE/LÊ", "PHAM/FAM", "HUYNH/HUINH", "VO/VÕ", "DANG/DENG", "CHEN/TCHEN", "HUANG/HOUANG", "LIN/LINN", "WANG/WONG", "ZHANG/CHANG", "LI/LY", "ZHOU/CHOU", "SIVAKUMAR/SIVA KUMAR", "KANDIAH/KANDIA", "SELVARAJAH/SELVARAJA", "CHEA/TCHEA", "KEO/KÉO", "SOK/SOCK", "LIM/LIMM", "XU/SU"],
        patterns: &["NGUYEN*"],
        men: &["Van Minh/Vanminh", "Duc/Duck", "Hung/Houng", "Quang/Quan", "Thanh/Tan", "Wei/Wey", "Jian/Jianne", "Xiaoming/Xiao Ming", "Suresh/Souresh", "Ravi", "Kumar/Koumar", "Sokha/Soka", "Dara", "Tuan/Tuann", "Long", "Anh/Han"],
        women: &["Thi Lan/Thilan", "Thi Hoa/Thihoa", "Linh/Lin", "Mai/May", "Phuong/Fuong", "Huong/Houong", "Xiaoyan/Xiao Yan", "Mei/Mey", "Li Na/Lina", "Priya/Pria", "Shanthi/Santhi", "Sreymom/Srey Mom", "Chanthy/Chanti", "Ngoc/Ngok"],
    },
    Origin {
        key: "turquie_syrie", weight: 17, born_abroad: 0.6, without_papers: 0.2, default_date: 0.25, two_surnames: 0.0, french_given: 0.1,
        countries: &[("99208", 75), ("99206", 25)],
        surnames: &["YILMAZ/YLMAZ/YILMAS", "KAYA/KAYAH", "DEMIR/DEMIRR", "SAHIN/CHAHIN", "CELIK/ÇELIK/TCHELIK", "YILDIZ/YILDIS", "OZTURK/ÖZTÜRK/OSTURK", "AYDIN/AIDIN", "ARSLAN/ASLAN", "DOGAN/DOGHAN", "KILIC/KILIÇ/KILITCH", "KARA/KARRA", "KOC/KOÇ", "KURT/KOURT", "OZDEMIR/ÖZDEMIR", "POLAT", "AL HASSAN/ALHASSAN/EL HASSAN", "AL AHMAD/ALAHMAD", "HAMOUD/HAMMOUD", "KHALIL/KALIL", "DARWISH/DARWICH", "AL ALI/ALALI"],
        patterns: &["*OGLU", "YIL*", "OZT*"],
        men: &["Mehmet/Mehmed/Mehmete", "Mustafa/Moustafa", "Ahmet/Ahmed", "Huseyin/Hüseyin/Housseyin", "Hasan/Hassan", "Ibrahim/Ibrahime", "Murat/Mourat", "Yusuf/Youssouf", "Emre/Emré", "Ali/Aly", "Omer/Ömer/Omar", "Serkan/Sercan", "Mohamad/Mohammad", "Khaled/Khalid"],
        women: &["Fatma/Fatima", "Ayse/Aysé/Ayché", "Emine/Eminé", "Hatice/Hatidje", "Zeynep/Zeyneb", "Elif/Elife", "Meryem/Meriem", "Sultan/Soultan", "Esra", "Rana/Ranna", "Hiba/Heba", "Rim/Reem"],
    },
    Origin {
        key: "comores_madagascar", weight: 20, born_abroad: 0.6, without_papers: 0.2, default_date: 0.12, two_surnames: 0.15, french_given: 0.25,
        countries: &[("99397", 75), ("99333", 25)],
        surnames: &["AHAMADA/HAMADA", "MMADI/M'MADI/MADI", "SAID/SAÏD", "ABDOU/ABDU", "YOUSSOUF/YUSSUF", "MOHAMED/MOHAMMED", "HADJI/HADJ", "SOILIHI/SOILIH", "MZE/M'ZE", "BACAR/BAKAR", "ALI MMADI/ALIMMADI", "ASSOUMANI/ASUMANI", "IBRAHIM/IBRAHIMA", "ABDALLAH/ABDALLA", "COMBO/KOMBO", "MSAIDIE/M'SAIDIE", "RAKOTO/RAKOTOU", "RANDRIANARISOA/RANDRIANARISSOA", "RASOANAIVO/RASOANAÏVO", "ANDRIAMANANA/ANDRIAMANANNA"],
        patterns: &[],
        men: &["Said Ali/Saïd Ali", "Mohamed/Mohammed", "Abdou/Abdu", "Ahamada/Hamada", "Youssouf/Youssouffa", "Ibrahim/Ibrahima", "Soule/Soulé", "Naim/Naïm", "Fahad/Fahd", "Kamal/Kamel", "Toihir/Toihiri", "Faniry", "Tojo", "Ali/Aly"],
        women: &["Echata/Echat", "Fatima/Fatouma", "Moina/Mouina", "Zainaba/Zaïnaba", "Mariama/Mariam", "Halima/Alima", "Nafissa/Nafisa", "Roukia/Rukia", "Hadidja/Khadidja", "Anziza", "Voahangy", "Lalao/Lala", "Chamsia/Chamsiya"],
    },
];
