//! Pages of actors: filtered, ordered and cut here, so that no list leaves the process as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use crate::actor::ActorSnapshot;
use crate::actor::stats::Phase;
use crate::bus::inspect::member::bound::cut_page;
use crate::bus::inspect::member::lists::ActorList;
use crate::bus::inspect::member::{Answers, InspectedMember};
use crate::bus::inspect::message::{
    ActorFilter, ActorPage, ActorsQuery, Cursor, MAX_PAGE, Refusal, Sort, TreeNode, TreePage,
    TreeQuery, TypePage, TypeSummary, TypesQuery,
};
use crate::urn::Urn;

impl InspectedMember {
    /// The list that a page continues, or one that is fresh.
    async fn list(&mut self, after: Option<Cursor>) -> Result<Arc<ActorList>, Refusal> {
        if let Some(cursor) = after {
            return self.lists.of_number(cursor.list);
        }
        let core = self.core()?;
        self.lists.fresh(core, &mut self.share).await
    }
}

/// Size of an entry beside its texts, in bytes; at most.
const ENTRY_BYTES: usize = 320;

impl Answers<ActorsQuery> for InspectedMember {
    async fn answer(&mut self, query: ActorsQuery) -> Result<ActorPage, Refusal> {
        query.filter.check()?;
        let list = self.list(query.after).await?;
        let (actors, max_bytes) = (list.actors.len(), self.max_page_bytes());
        let page = move || page(&list, &query, max_bytes);
        self.share.measure_many(actors, page).await
    }
}

/// A page of a list.
fn page(list: &ActorList, query: &ActorsQuery, max_bytes: usize) -> ActorPage {
    let selected = list
        .actors
        .iter()
        .filter(|actor| query.filter.selects(actor));
    let mut selected: Vec<_> = selected.collect();
    let matching = selected.len();
    let from = query.after.map_or(0, |cursor| cursor.offset);
    let from = usize::try_from(from).unwrap_or(matching).min(matching);
    let to = from.saturating_add(limit(query.limit)).min(matching);
    sort_first(&mut selected, to, query.sort);
    let mut bytes = 0;
    let fitting = selected[from..to].iter().take_while(|actor| {
        bytes += size(actor);
        bytes <= max_bytes
    });
    // One at least, or the pages would never end.
    let shown = fitting.count().max(1).min(to - from);
    let actors = selected[from..from + shown].iter().copied().cloned();
    ActorPage {
        actors: actors.collect(),
        matching,
        total: list.actors.len(),
        next: cursor(list, from + shown, matching),
        age: list.age(),
    }
}

fn limit(asked: usize) -> usize {
    asked.clamp(1, MAX_PAGE)
}

fn cursor(list: &ActorList, offset: usize, matching: usize) -> Option<Cursor> {
    (offset < matching).then_some(Cursor {
        list: list.number,
        offset: offset as u64,
    })
}

/// Sorts the first `count` actors of an order to the front.
fn sort_first(actors: &mut [&ActorSnapshot], count: usize, sort: Sort) {
    let compare = |a: &&ActorSnapshot, b: &&ActorSnapshot| sort.compare(a, b);
    let first = if count < actors.len() {
        actors.select_nth_unstable_by(count, compare).0
    } else {
        actors
    };
    first.sort_unstable_by(compare);
}

fn size(actor: &ActorSnapshot) -> usize {
    let parent = actor.parent.as_ref().map_or(0, |urn| urn.as_str().len());
    ENTRY_BYTES + actor.urn.as_str().len() + actor.actor_type.len() + parent
}

impl Answers<TypesQuery> for InspectedMember {
    async fn answer(&mut self, query: TypesQuery) -> Result<TypePage, Refusal> {
        query.filter.check()?;
        let list = self.list(None).await?;
        let (actors, max_bytes) = (list.actors.len(), self.max_page_bytes());
        let types = move || types(&list, &query, max_bytes);
        self.share.measure_many(actors, types).await
    }
}

fn types(list: &ActorList, query: &TypesQuery, max_bytes: usize) -> TypePage {
    let mut types = summaries(&list.actors, &query.filter);
    types.sort_unstable_by(|a, b| query.sort.compare_types(a, b));
    TypePage {
        omitted: cut_page(&mut types, MAX_PAGE, max_bytes),
        types,
        age: list.age(),
    }
}

fn summaries(actors: &[ActorSnapshot], filter: &ActorFilter) -> Vec<TypeSummary> {
    let mut types: HashMap<&str, TypeSummary> = HashMap::new();
    for actor in actors.iter().filter(|actor| filter.selects(actor)) {
        let of_type = types.entry(&*actor.actor_type).or_default();
        add(of_type, actor);
    }
    types.into_values().collect()
}

fn add(of_type: &mut TypeSummary, actor: &ActorSnapshot) {
    if of_type.actors == 0 {
        of_type.actor_type.clone_from(&actor.actor_type);
    }
    of_type.actors += 1;
    *match actor.phase {
        Phase::Starting => &mut of_type.starting,
        Phase::Running => &mut of_type.running,
        Phase::Restarting => &mut of_type.restarting,
        Phase::Stopping => &mut of_type.stopping,
    } += 1;
    of_type.busy += usize::from(actor.running.is_some());
    of_type.queued += actor.queued;
    of_type.queued_max = of_type.queued_max.max(actor.queued);
    of_type.waiting_senders += actor.waiting_senders;
    if actor.oldest > of_type.oldest {
        of_type.oldest = actor.oldest;
        of_type.oldest_urn = Some(actor.urn.clone());
    }
    let running = actor.running.as_ref().map(|running| running.elapsed);
    of_type.longest_running = of_type.longest_running.max(running);
    of_type.handled += actor.handled;
    of_type.failures += actor.failures;
    of_type.restarts += u64::from(actor.restarts);
}

impl Answers<TreeQuery> for InspectedMember {
    async fn answer(&mut self, query: TreeQuery) -> Result<TreePage, Refusal> {
        let list = self.list(query.after).await?;
        let (actors, max_bytes) = (list.actors.len(), self.max_page_bytes());
        let tree = move || tree(&list, &query, max_bytes);
        self.share.measure_many(actors, tree).await?
    }
}

/// The actors of a list as a tree.
struct Tree<'a> {
    actors: &'a [ActorSnapshot],
    places: HashMap<&'a Urn, usize>,
    /// The places of the children of each actor, in the order of spawning.
    children: HashMap<usize, Vec<usize>>,
    roots: Vec<usize>,
}

impl<'a> Tree<'a> {
    fn new(actors: &'a [ActorSnapshot]) -> Self {
        let places = actors.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(place, actor)| (&actor.urn, place)).collect();
        let (mut children, mut roots) = (HashMap::<usize, Vec<usize>>::new(), Vec::new());
        for (place, actor) in actors.iter().enumerate() {
            // A parent that has ended since, or was spawned since, is not in the list.
            match actor.parent.as_ref().and_then(|urn| places.get(urn)) {
                Some(parent) => children.entry(*parent).or_default().push(place),
                None => roots.push(place),
            }
        }
        Self {
            actors,
            places,
            children,
            roots,
        }
    }

    /// The places of actors and their levels, parents before their children.
    fn walk(&self, roots: &[usize], depth: u16) -> Vec<(usize, u16)> {
        let mut order = Vec::new();
        let mut is_known = vec![false; self.actors.len()];
        let mut waiting: Vec<_> = roots.iter().rev().map(|root| (*root, 0)).collect();
        while let Some((place, level)) = waiting.pop() {
            // URNs that were taken again meanwhile could make a circle.
            if std::mem::replace(&mut is_known[place], true) {
                continue;
            }
            order.push((place, level));
            if level < depth
                && let Some(children) = self.children.get(&place)
            {
                waiting.extend(children.iter().rev().map(|child| (*child, level + 1)));
            }
        }
        order
    }
}

fn tree(list: &ActorList, query: &TreeQuery, max_bytes: usize) -> Result<TreePage, Refusal> {
    let tree = Tree::new(&list.actors);
    let roots = match &query.root {
        None => tree.roots.clone(),
        Some(urn) => {
            let place = tree.places.get(urn).ok_or_else(|| Refusal::NoSuchActor {
                urn: urn.clone(),
                failed: None,
            })?;
            vec![*place]
        }
    };
    let order = tree.walk(&roots, query.depth);
    let matching = order.len();
    let from = query.after.map_or(0, |cursor| cursor.offset);
    let from = usize::try_from(from).unwrap_or(matching).min(matching);
    let to = from.saturating_add(limit(query.limit)).min(matching);
    let mut bytes = 0;
    let nodes = order[from..to].iter().map(|(place, depth)| {
        let actor = &list.actors[*place];
        TreeNode {
            urn: actor.urn.clone(),
            depth: *depth,
            actor_type: actor.actor_type.clone(),
            phase: actor.phase,
            queued: actor.queued,
            children: tree.children.get(place).map_or(0, Vec::len),
        }
    });
    let fitting = nodes.enumerate().take_while(|(place, node)| {
        bytes += ENTRY_BYTES / 2 + node.urn.as_str().len() + node.actor_type.len();
        *place == 0 || bytes <= max_bytes
    });
    let nodes: Vec<_> = fitting.map(|(_, node)| node).collect();
    Ok(TreePage {
        next: cursor(list, from + nodes.len(), matching),
        nodes,
        matching,
    })
}
