//! Every string of the page, French and English side by side. `{0}`, `{1}`… are filled in.

macro_rules! texts {
    ($($key:ident: $fr:literal, $en:literal;)*) => {
        /// The texts of one language.
        pub(super) struct Texts { $(pub(super) $key: &'static str,)* words: &'static [(&'static str, &'static str)] }
        pub(super) static FR: Texts = Texts { $($key: $fr,)* words: FR_WORDS };
        pub(super) static EN: Texts = Texts { $($key: $en,)* words: EN_WORDS };
    };
}

impl Texts {
    /// What a dimension, an attribute or a measure is called.
    pub(super) fn word(&self, name: &str) -> Option<&'static str> {
        self.words.iter().find(|(key, _)| *key == name).map(|(_, word)| *word)
    }
}

macro_rules! words {
    ($($key:literal: $fr:literal, $en:literal;)*) => {
        const FR_WORDS: &[(&str, &str)] = &[$(($key, $fr)),*];
        const EN_WORDS: &[(&str, &str)] = &[$(($key, $en)),*];
    };
}

words! {
    "period": "période", "period";
    "party": "partenaire", "partner";
    "parties": "combinaison exacte de partenaires", "exact combination of partners";
    "age": "âge", "age";
    "from": "de", "from";
    "to": "vers", "to";
    "path": "parcours", "path";
    "quantile": "quantile", "quantile";
    "composition-menage": "composition du ménage", "household composition";
    "count": "présence dans la période", "present in the period";
    "stock": "présence le dernier mois de la période", "present in the last month of the period";
    "entries": "entrées", "entries";
    "exits": "sorties", "exits";
    "returns": "retours", "returns";
    "durations": "durée de présence, en mois", "length of stay, in months";
    "transitions": "passages d’un état à l’autre", "changes of state";
    "paths": "parcours entre services", "paths between services";
    "delays": "délai avant d’être connu de chaque partenaire, en mois", "delay until known to each partner, in months";
    "sum": "somme", "sum";
    "month": "mois", "month";
    "quarter": "trimestre", "quarter";
    "year": "année", "year";
    "same": "le mois compté", "in the month counted";
    "previous": "le mois précédent", "in the month before";
    "before": "un mois antérieur", "in some earlier month";
    "after": "un mois ultérieur", "in some later month";
    "ever": "à un moment quelconque", "in any month";
    "sexe": "sexe", "sex";
    "date_naissance": "âge ou date de naissance", "age or date of birth";
    "commune_residence": "commune de résidence", "commune of residence";
    "code_lieu_naissance": "lieu de naissance", "place of birth";
    "nationalite": "nationalité", "nationality";
    "composition": "composition familiale", "family composition";
    "nb_personnes": "nombre de personnes", "number of persons";
    "nb_enfants": "nombre d’enfants", "number of children";
    "statut": "statut", "status";
    "hebergement": "hébergement", "accommodation";
    "ressources": "ressources", "income";
    "type_accompagnement": "type d’accompagnement", "type of support";
    "date_entree": "date d’entrée", "date of entry";
    "date_sortie": "date de sortie", "date of exit";
}

texts! {
    skip: "Aller au contenu", "Skip to content";
    footer: "Chaque personne est comptée une fois, sous pseudonyme. Les effectifs trop petits sont masqués ; chaque consultation est inscrite au journal des accès.", "Each person is counted once, under a pseudonym. Counts that are too small are hidden; every look is entered in the access log.";
    navigation: "Rubriques", "Sections";
    leave: "Se déconnecter", "Log out";
    you_are: "Vous êtes", "You are";
    refused: "Demande refusée", "Request refused";
    refused_request: "Cette demande ne peut être traitée. Rechargez la page depuis son adresse habituelle ; si vous avez envoyé beaucoup de demandes, attendez une minute.", "This request cannot be served. Load the page again from its usual address; if you sent many requests, wait a minute.";
    too_slow: "La réponse demande trop de temps. Réduisez la période ou le nombre de ventilations, puis réessayez.", "The answer takes too long. Narrow the period or the breakdowns, then try again.";
    back_to_start: "Revenir à l’accueil", "Back to the start";
    not_found: "Rien ne se trouve à cette adresse.", "There is nothing at this address.";
    no_access: "Ce compte n’ouvre aucun accès ici. Adressez-vous à la personne qui gère vos habilitations.", "This account opens nothing here. Ask whoever manages your access rights.";
    form_expired: "Ce formulaire n’est plus valable : rechargez la page puis recommencez.", "This form is no longer valid: load the page again and retry.";

    login: "Connexion", "Log in";
    login_intro: "L’accès est réservé aux personnes habilitées.", "Access is for authorised persons only.";
    login_oidc: "Se connecter avec le compte de l’organisme", "Log in with your organisation’s account";
    login_certificate: "Se connecter avec le certificat présenté", "Log in with the certificate shown";
    login_no_certificate: "Votre navigateur n’a présenté aucun certificat. Importez-le dans le navigateur, fermez celui-ci puis revenez sur cette page.", "Your browser showed no certificate. Import it into the browser, close the browser and come back to this page.";
    login_link: "Sur ce poste, un lien à usage unique s’affiche dans le terminal au démarrage du service.", "On this machine, a link that works once is printed in the terminal when the service starts.";
    login_again: "Cette connexion n’est plus en cours : recommencez depuis la page de connexion.", "This login is no longer under way: start again from the login page.";
    login_denied: "Le fournisseur d’identité n’a pas accordé l’accès.", "The identity provider did not grant access.";
    provider_silent: "Le fournisseur d’identité ne répond pas comme attendu. Réessayez dans un moment ; si cela persiste, prévenez l’opérateur de ce service.", "The identity provider does not answer as expected. Try again in a while; if this lasts, tell the operator of this service.";
    token_expired: "Le jeton reçu n’est pas valable à cette heure (expiré ou pas encore valable). Reconnectez-vous ; si cela persiste, l’une des horloges est déréglée.", "The token received is not valid at this time (expired, or not valid yet). Log in again; if this lasts, one of the clocks is wrong.";
    token_audience: "Le jeton reçu est destiné à une autre application.", "The token received is meant for another application.";
    token_refused: "Le jeton reçu ne peut être accepté. Reconnectez-vous ; si cela persiste, prévenez l’opérateur de ce service.", "The token received cannot be accepted. Log in again; if this lasts, tell the operator of this service.";
    link_used: "Ce lien ne vaut pas, ou a déjà servi. Redémarrez le service pour en obtenir un autre.", "This link is not valid, or has been used. Restart the service to get another.";
    too_many_logins: "Trop de tentatives de connexion. Attendez une minute.", "Too many attempts to log in. Wait a minute.";

    overview: "Vue d’ensemble", "Overview";
    flows: "Stocks et flux", "Stock and flows";
    overlaps: "Recouvrements", "Overlaps";
    paths: "Parcours", "Paths";
    query: "Requêtes", "Queries";
    reports: "Rapports", "Reports";
    publications: "Publications", "Publications";
    data: "Données", "Data";

    users: "Utilisateurs", "Users";
    switched_off: "Ce compte est désactivé. Adressez-vous à la personne qui gère les utilisateurs de cette étude.", "This account is disabled. Ask whoever manages the users here.";
    users_intro: "Personnes et certificats qui sont entrés ici. Désactiver un compte ferme ses sessions dès la demande suivante ; chaque changement figure au journal des accès.", "Persons and certificates that have come in here. Disabling an account ends its sessions with their next request; every change is in the access log.";
    users_caption: "Comptes, la dernière connexion d’abord", "Accounts, the latest login first";
    users_console: "En ligne de commande : linkage analyst users list, disable, enable.", "On the command line: linkage analyst users list, disable, enable.";
    user: "Compte", "Account";
    way_in: "Moyen d’entrer", "Way in";
    by_login: "fournisseur d’identité", "identity provider";
    by_certificate: "certificat", "certificate";
    by_console: "compte de la machine", "machine’s account";
    last_seen: "Dernière connexion", "Last login";
    logins: "Connexions", "Logins";
    open_sessions: "Sessions ouvertes", "Open sessions";
    switch_column: "Activer ou désactiver", "Enable or disable";
    user_enabled: "actif", "enabled";
    user_disabled: "désactivé", "disabled";
    switched: "le {0} par {1}", "on {0} by {1}";
    own_account: "Votre propre compte : une autre personne habilitée, ou la ligne de commande, peut le désactiver.", "Your own account: another entitled person, or the command line, can disable it.";
    disable: "Désactiver", "Disable";
    disable_named: "Désactiver {0}", "Disable {0}";
    enable: "Activer", "Enable";
    enable_named: "Activer {0}", "Enable {0}";
    reason_for: "Motif de la désactivation de {0}", "Reason for disabling {0}";

    runs: "Traitements en cours", "Runs under way";
    runs_caption: "Traitements qui ne sont pas clos, le plus récent d’abord", "Runs that are not closed, the latest first";
    no_runs: "Aucun traitement n’est en cours.", "No run is under way.";
    broker_silent: "Le courtier ne répond pas : l’état des traitements en cours n’est pas connu. Les chiffres de cette page n’en dépendent pas.", "The broker does not answer: the state of runs under way is not known. The figures of this page do not depend on it.";
    phase: "Phase", "Phase";
    phase_collecting: "collecte", "collecting";
    phase_linking: "rapprochement", "linking";
    phase_delivering: "remise", "delivering";
    progress: "Avancement", "Progress";
    expected_end: "Fin prévue", "Expected end";
    sent_of: "{0} partenaires sur {1} ont envoyé", "{0} of {1} partners have sent";
    step_of: "étape {0} sur {1}", "step {0} of {1}";
    no_forecast: "pas encore prévisible", "cannot be told yet";
    expected: "dans {0}\u{a0}min environ ({1} UTC)", "in about {0} min ({1} UTC)";

    earlier: "Publications plus anciennes", "Earlier publications";
    later: "Publications plus récentes", "Later publications";

    persons: "personnes distinctes", "distinct persons";
    households: "ménages distincts", "distinct households";
    figure: "effectif", "figure";
    unknown: "non renseigné", "unknown";
    absent: "absent", "absent";
    others: "autres", "others";
    all_together: "ensemble", "all";
    secret: "secret", "hidden";
    not_delivered: "non livré", "not delivered";
    missing: "non disponible", "not available";
    delivered: "livré", "delivered";
    uncertain: "incertain", "uncertain";

    note_hidden: "« secret » : effectif inférieur à {0}, ou masqué pour qu’aucune soustraction ne rende un tel effectif.", "“hidden”: a count below {0}, or one hidden so that no subtraction gives such a count back.";
    note_noise: "Chaque effectif porte un léger bruit, toujours le même pour les mêmes personnes : les totaux peuvent différer un peu des sommes.", "Each count bears a small noise, always the same for the same persons: totals may differ slightly from sums.";
    note_interval: "Sous chaque effectif, l’intervalle à 95 % au vu des liens manqués et des faux liens.", "Below each count, its 95% interval in view of missed and false links.";
    note_uncertain: "« incertain » : l’intervalle est assez large pour changer la lecture du chiffre.", "“uncertain”: the interval is wide enough to change how the figure reads.";
    note_party: "{0} : {1} n’a rien livré ; ce mois manque pour ce partenaire, il ne vaut pas zéro.", "{0}: {1} delivered nothing; the month is missing for this partner, it is not zero.";
    note_no_run: "{0} : aucun traitement de ce mois n’est ici ; il manque, il ne vaut pas zéro.", "{0}: no run of this month is here; it is missing, it is not zero.";
    note_partial: "{0} n’est compté que de {1} à {2}.", "{0} is counted from {1} to {2} only.";
    rows_left_out: "{0} lignes de plus figurent dans les fichiers à télécharger.", "{0} more rows are in the files for download.";

    lines_said: "Courbes : {0}, de {1} à {2}.", "Lines: {0}, from {1} to {2}.";
    lines_series: "{0} : de {1} à {2}, minimum {3}, maximum {4}.", "{0}: from {1} to {2}, minimum {3}, maximum {4}.";
    lines_nothing: "{0} : aucun chiffre ne peut être montré.", "{0}: no figure can be shown.";
    legend_missing: "rien ne peut être dit de ce mois (il manque) ; ce n’est pas zéro", "nothing can be said of this month (it is missing); it is not zero";
    hidden_count: "Valeurs secrètes : {0}.", "Hidden values: {0}.";
    missing_count: "Valeurs manquantes : {0}.", "Missing values: {0}.";
    upset_said: "{0} : {1} combinaisons exactes de partenaires ; les plus fréquentes : {2}.", "{0}: {1} exact combinations of partners; the most frequent: {2}.";
    upset_left_out: "{0} autres combinaisons, plus rares, figurent dans le tableau.", "{0} other combinations, less frequent, are in the table.";
    ribbon_said: "{0} : {1} parcours ; les plus fréquents : {2}.", "{0}: {1} paths; the most frequent: {2}.";
    hidden_paths: "Parcours trop rares, non dessinés : {0}.", "Paths that are too rare and not drawn: {0}.";
    show_table: "Tableau des chiffres", "Table of the figures";

    empty: "Aucune table de liens n’est encore ici. Elles arrivent quand un traitement est clos ; « linkage analyst fetch » les demande.", "No link table is here yet. They arrive when a run is closed; “linkage analyst fetch” asks for them.";
    latest: "Dernier mois : {0}", "Latest month: {0}";
    months_held: "mois reçus", "months held";
    persons_latest: "personnes distinctes, dernier mois", "distinct persons, latest month";
    partners: "partenaires", "partners";
    run: "traitement", "run";
    month: "mois", "month";
    deliveries: "Livraisons par mois", "Deliveries by month";
    deliveries_caption: "Partenaires qui ont livré, mois par mois ; un mois non livré manque, il ne vaut pas zéro", "Partners that delivered, month by month; a month not delivered is missing, it is not zero";
    no_run: "aucun traitement", "no run";
    quality: "Qualité du dernier rapprochement", "Quality of the last linkage";
    quality_caption: "Estimations du courtier pour le traitement {0}", "The broker’s estimates for run {0}";
    precision: "précision estimée", "estimated precision";
    recall: "rappel estimé", "estimated recall";
    interval: "intervalle", "interval";
    estimate: "estimation", "estimate";
    measure_column: "mesure", "measure";
    recent_publications: "Publications récentes", "Recent publications";
    left_out: "Fiches laissées de côté", "Records left out";
    left_out_note: "Le dernier traitement n’a pas comparé ces fiches : elles sont d’une époque passée de la clé de l’OPRF, et leur partenaire ne peut plus encoder de nouveau des noms qu’il a supprimés. Les personnes qui n’ont que de telles fiches n’y figurent pas.", "The last run did not compare these records: they are of a former epoch of the OPRF key, and their partner cannot encode again names that it has deleted. Persons who have only such records are not in it.";
    left_out_records: "Fiches d’une époque passée", "Records of a former epoch";
    secret_or_unknown: "secret ou non dit", "hidden or not stated";
    no_quality: "Le rapport de ce traitement ne donne pas d’estimation.", "The report of this run gives no estimate.";

    stock_title: "Personnes présentes, mois par mois", "Persons present, month by month";
    stock_households_title: "Ménages présents, mois par mois", "Households present, month by month";
    moves_title: "Entrées, sorties et retours, mois par mois", "Entries, exits and returns, month by month";
    entries_note: "Du premier mois reçu, on ne peut dire qui vient d’entrer ni qui vient de sortir : ces chiffres manquent, ils ne valent pas zéro.", "Of the first month held, nobody can say who has just entered or left: these figures are missing, they are not zero.";
    choose: "Afficher", "Show";
    filter: "Choix", "Selection";
    all_partners: "tous les partenaires", "all partners";
    partner: "Partenaire", "Partner";
    counted: "Compter", "Count";
    from_month: "Du mois", "From month";
    to_month: "Au mois", "To month";
    overlap_title: "Personnes par combinaison exacte de partenaires, {0}", "Persons by exact combination of partners, {0}";
    paths_title: "Parcours entre partenaires, de {0} à {1}", "Paths between partners, from {0} to {1}";
    first_service: "premier", "first";
    second_service: "deuxième", "second";
    third_service: "troisième", "third";
    no_paths: "Aucun parcours ne peut être montré : tous sont trop rares.", "No path can be shown: all are too rare.";
    stops: "aucun autre", "no other";

    publications_count: "publications", "publications";
    no_figure: "Aucun chiffre n’est donné.", "No figure is given.";
    open_in_builder: "Ouvrir cette requête dans l’éditeur", "Open this query in the builder";
    paths_note: "Personnes présentes le dernier mois, selon les partenaires rencontrés depuis le premier, dans l’ordre de première rencontre (trois étapes au plus).", "Persons present in the last month, by the partners met since the first, in the order of first meeting (three steps at most).";
    transitions_title: "Passages entre partenaires, de {0} à {1}", "Changes between partners, from {0} to {1}";
    transitions_note: "Chaque personne est comptée dans la combinaison de partenaires qui la connaissait le premier mois, puis dans celle du second.", "Each person is counted in the combination of partners that knew them in the first month, then in that of the second.";

    query_intro: "Composez une requête, puis demandez l’aperçu : le tableau montré a passé le contrôle de divulgation, comme tout fichier.", "Compose a query, then ask for the preview: the table shown has passed disclosure control, as has every file.";
    what: "Ce qui est compté", "What is counted";
    title_field: "Titre", "Title";
    of_attribute: "Attribut (somme, passages)", "Attribute (sum, changes)";
    none: "aucun", "none";
    no_breakdown: "aucune", "none";
    grain: "Par", "By";
    breakdown: "Ventilation {0}", "Breakdown {0}";
    who_is_counted: "Qui est compté", "Who is counted";
    conditions_help: "Sans condition, tout le monde. Une condition porte sur une même fiche : tous les attributs cochés doivent y être à la fois.", "Without a condition, everybody. A condition is about one and the same record: all attributes ticked must hold of it.";
    together: "Les conditions s’appliquent", "The conditions apply";
    all_of: "toutes à la fois", "all together";
    any_of: "l’une au moins", "at least one";
    condition: "Condition {0}", "Condition {0}";
    record_of: "Fiche de", "Record of";
    any_partner: "tout partenaire", "any partner";
    when: "Quand", "When";
    except: "Exclure ceux qui remplissent cette condition", "Leave out those who fulfil this condition";
    preview_button: "Voir l’aperçu", "Show the preview";
    preview: "Aperçu", "Preview";
    document: "Document de la requête", "The query’s document";
    document_field: "Document TOML ou JSON", "TOML or JSON document";
    paste_document: "Coller un document de requête", "Paste a query document";
    save_document: "Enregistrer le document (TOML)", "Save the document (TOML)";
    beyond_form: "Cette population est plus riche que le formulaire : il ne la montre pas. Modifiez le document.", "This population is more than the form can hold: it is not shown there. Change the document.";
    download: "Télécharger (brouillon, non publié, tant que le tableau n’est pas publié) :", "Download (draft, not published, as long as the table is not published):";
    publish: "Publier ce tableau", "Publish this table";
    publish_button: "Proposer à la publication", "Put forward for publication";
    justification: "Motif", "Reason";

    no_publication: "Rien n’a encore été publié.", "Nothing has been published yet.";
    publications_caption: "Tableaux publiés ou proposés, du plus récent au plus ancien", "Tables published or put forward, the latest first";
    day: "Jour", "Day";
    state: "État", "State";
    awaited: "en attente", "awaited";
    state_proposed: "proposé", "put forward";
    state_published: "publié", "published";
    state_rejected: "rejeté", "rejected";
    approved: "approuvé", "approved";
    budget: "Tableaux publiés ou proposés en {2} : {0} sur {1}.", "Tables published or put forward in {2}: {0} of {1}.";
    approval_needed: "La convention demande l’accord des producteurs avant toute publication.", "The agreement wants the producers’ approval before anything is published.";
    approval_not_needed: "La convention ne demande pas l’accord des producteurs.", "The agreement does not want the producers’ approval.";
    fingerprint: "Empreinte", "Fingerprint";
    decisions: "Accord des producteurs", "The producers’ approval";
    decisions_caption: "Décision de chaque producteur", "Each producer’s decision";
    decision: "Décision", "Decision";
    how_to_approve: "Chaque producteur décide depuis son nœud : linkage cohort approve {0}", "Each producer decides from its node: linkage cohort approve {0}";

    rows_warning: "Ces fichiers contiennent des lignes pseudonymes, sans contrôle de divulgation. Ils ne peuvent être ni publiés ni transmis.", "These files hold pseudonymous rows, without disclosure control. They must be neither published nor passed on.";
    rows_caption: "Tables pseudonymes par traitement", "Pseudonymous tables by run";
    rows_link: "{0} du traitement {1}, Parquet", "{0} of run {1}, Parquet";

    reports_intro: "Rapports prêts à l’emploi, en français, tels que les conventions les demandent.", "Ready-made reports, in French, as the agreements ask for them.";
    any_month_of: "Mois (l’un quelconque de la période)", "Month (any of the period)";
    choose_party: "choisir un partenaire", "choose a partner";
    cohort_without_party: "Choisissez le partenaire dont les personnes forment la cohorte, puis affichez le rapport.", "Choose the partner whose persons make the cohort, then show the report.";
    cohort_of: "Cohorte : personnes connues de", "Cohort: persons known to";
    absent_attribute: "La convention ne transmet pas l’attribut « {0} » : cette partie est vide.", "The agreement does not pass on the attribute “{0}”: this part is empty.";
}
