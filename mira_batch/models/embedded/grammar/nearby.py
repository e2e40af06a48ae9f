"""English words that are one slip away from a word the grammar knows, and so are no typing mistakes.

From a public list of American English words (Debian's wamerican); a test looks for more where such a list is
installed.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.words import words

ENGLISH = words(
    """
    aback abort abound abut addend adder addled addling aground aided aiding alight alike aline
    aloha alone among amount amply amway antic apart appeal apple applies aptly arena arenas arias
    aright arise arising aside asides atone atoned attacked aversion avery balder barbs bards bares
    barfs baring barks barns barr beach bears became below bight binging blank bless block blower
    blurb blurt blurted blurting boarder boarders boars boast boasted boasting boos booster boot
    booted booth booting boots borden borer borers bossy botch boulder bowlder braise braised
    braising bras brawn breading breads brest bridging brig brighton brine brink briny broth brow
    browne brows bugger bumpy burred burring busing canter cantered canvass cation catting caution
    cautioned cautioning censer chance chanced chancel chances chancing chanel chang chanted
    chanting chapped chapping charge charged charges charging cheeks cheeps cheer cheery chewers
    chipped chipping chomp chomped chomping chopper clanged clanging clank cleave cleft cline clint
    clipt close clove cold colo colon colonize colons comet compete concert concerted concerting
    conner considerable contract contracted convent converged converging conversed conversing
    converter coors cornea corneas corned cornet cornets cornier coroner coroners corp coulter
    counted coverall covert crack crane cranky crapped crapping crate crease cremate crest crete
    crimp crisped crispier crispy cropper croup currant dammed damming danker daren darren dawn
    debar decease deceased deceasing decree decrees degas designed dewar dimer discord disport
    disporting doable donut doubly doubted doubting dover downy drain draping drawling dreading
    dreads dregs droop edict edicts edith eery emery emits enclose encloses entice entirety epics
    ever evert exits extent factory fain falling falter fame famed farmed farming fatten fattened
    fattening feint felled felling fermat filed filing fillet filmed filming filth finale firth
    flame flamed flaming flapped flapping flatted flatter flattered flattering flight flint flipper
    flitted flitting flopped flopping flour flower flowered flowering foamed foaming folly foray
    formal fort forte forts forum fought foully fount frayed fraying fright frill fromm front fulled
    fulling fusing gadded gadding gapes gary gasp gasps gentile gentry gibing gives glove glower
    glowered glowering golda gould grady gravy greed greek greene greer greet ground hale haled
    haling haloed haloing halted halting handy haven having healing heaping heard hearing heating
    heaving hedge hedges heeding hell hells herding hither hover incense insect inserted inserting
    inset intensity intro invent invented inventing invest invested investing joust juts keeling
    keening kline kneed labelled labelling lager lapel larder largess largo latter leach lease
    leaven ledge ledges lefter lefty lester levee levees lever levers libel libeled libeling licit
    lien lightning liken linen linger litter littering litters lodger logger longed loose loot louse
    lowe lowed lowery macing madge magnifier magnifies margie marin marion marking marlin marlins
    marlon martin martins marvin masking mated maude maxing meade meddle meted meting miking model
    modem moire mont moore morse mound mover muddle mulch munch mused musty mutiny needy nerds
    nicety noshing notching noting nought nuder outlive overlap overly overpay overplay overt pace
    paced paces pacing pacts paddled paddling paine pains painted painting palace palaces pant pants
    parcs pares paris parks pars party pasts pats patting peace peaces peach peer petting phage
    phobos phonograph phonographs photography photon photons picks pinky pinto pitting placers
    placid plaice plaid plait plan plane planed planes planing plate plated plates plating played
    playing plight plump podded podding pointed pointing ports potting praise praised praising
    prefect printer produce pudding punting puree purge purse putt puttying quadruplet quartet
    quartets radio radios radium raided raiding railed railing rained raining raisin raisins ration
    reach read reader ready readying reals reaming reams reaping reaps rearing rears redder redding
    reed reeds reelect reelected reelecting reelection regaining remote rending rends renter
    replayed replaying requite requites resale reset reside resided residing retail retaining
    retrain revere revered reveres reverie revering reverted reverting revery riches rise rising
    roads rotted rotting rotund rover sale salver sand sapped sapping sarong satay sating save saved
    sawing scala scalded scalding scalp scalped scalping scaly scamp scant scare scared scaring
    scent scrip sealed sealing seating sedge seen seeps seize semen septa settling seventh sever
    severn sexting shading shads shakes shaking shall shamed shames shaming shaping shared shares
    sharing sharpener sheave shinning shirt shits shock shoes shoos shooter shoots shops shore shorn
    shorted shorten shouts shove shoved shoving shows shriek shrieking shrine shuts shying sidle
    sidles sids sight silvery sinning sires sises sites sitting sixes sixth skinning skying slapped
    slapping slave slaved slaving slaying slick slid slighter slime sliver slower slowest sluice
    smell smock snapped snapping snide snipe snitch snitched snitching snort soave sock softener
    softer softy sold soled soli solis solver somme sort sorter sought spacey spacy spade spades
    spain spake spanning spare spate spats spaying spine spinx spiny spits splice spock sport sports
    spot spouts sprint sprinted sprinting spunk spurn spying squire stabs stack stags staid stake
    staking staled staling stampede stan stank stars stats stave staved staving staying steal steam
    steep steeps stems steven stews stick stile stilt stilted stint stinted stinting stitch stitched
    stitching stocky stole stolid stomp stomped stomping stone stoned stops stork strand stranger
    strap stray strays stretcher stretches stretchy string stringer stripe stripling stript strop
    strung stuck stump stumped stumping stye styli suave suction suctions suing sunder supper sven
    swatch swaying swill switcher switches swopped swopping sword swords tacking taint tainted
    tainting talking tally tames taming tank tanking tanks taping tarim taring tasking taxing taxis
    teach teen teeth tent tented tenting tents thais than thanh thees thigh thinks thirsty thong
    thorough though threw throe thunk thunks tick tides ties tikes tile tiled tiles tiling tilled
    tilling timed timer timers timex tines ting tinged tinging tinned tinning tirade tires tithe
    titling tittle toed toked token toking tomes tonne tonto topmast torch toted touchy touché tough
    towed toyed trace trammed tramming treading treads tree trialed trialing trice trick trifle
    trifled trifling trilled trilling trimmer tripe triply trippe tripped tripping trough tuning
    turfed turfing turin turing turner twill twine tying tyree udder upped vague vale valve violent
    visibly wadded wadding wafts waiting waits wands wanes wanks wards warts wats watts weaken
    wearer weaver wedge wedges weight weighty weill whale whine whit whiten whiting whits whore
    whose widen wilde willa willy witch woods wordy works worlds worms wound wrest wright writ
    writhe writhing writs wrote zone zoned
    """
)
