"""English words that are one slip away from a word the grammar knows, and so are no typing mistakes.

From a public list of American English words (Debian's wamerican); a test looks for more where such a list is
installed.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.words import words

ENGLISH = words(
    """
    aback abel abort abound abut actor addend adder addled addling adjusts aery affect affects aground
    ahem aide aided aides aiding alice alight alike aline alive aloha alone alphas alto among amount
    amply amway ansi ante antic antis ants apace apart appeal apple applies aptly arena arenas ares aria
    arias aright arise arising arts aside asides aspects atone atoned attacked aught automatics autos
    aver aversion avery awry axes baas babel bach backdrops backs bade bags bake baking balder balk ball
    band bank bans barb barbs bard bards bare bares barf barfs barge baring bark barker barks barn barns
    barr bart bask bass bath bats baying bays beach bead beading beads beaker beam bear bears became
    beck beep beeping begs behinds being bellow below bender bent bering bess beth better bettering
    betters betting bevel bevels biddle bide bides bight bike bill billed billing binging blacks blank
    bless blew blight bling blip blob bloc block blot blower blown blows blued bluer blues blurb blurs
    blurt blurted blurting boarder boarders boars boas boast boasted boasting bobs bode bogs bold bolder
    bone boned bones bong book boos booster boosts boot booted booth booting boots bops borden bore
    borer borers boring bose bosh bossy botch bottoms bought boulder bound bout bower bowlder bows boys
    braise braised braising bras brawn bray breading breads brest bridging brig brightens brighton brim
    brimmed brimming brine brings brink briny britten broth brow browne browns brows buck bugger bull
    bully bumps bumpy bums burn burned burning burp burred burring burs busing buss bust butting cage
    cake caking calf call calve calved calving cant canter cantered cants canvass caps captions cars
    cart carts cask catalogs catalogued cataloguer catalogues cation catting caution cautioned
    cautioning cave cello celt censer centers centrals cents chan chance chanced chancel chances
    chancing chanel chang channels chanted chanting chap chapped chapping charge charged charges
    charging chat cheeks cheeps cheer cheery chem chewers chick chin chip chipped chipping chomp chomped
    chomping chopped chopper chopping chops chose chou chow clack clan clanged clanging clank clap
    cleave cleft clients clii cline clint clio clipped clipping clips clipt clit clive clix clop clopped
    clopping close clove clue code cody coke cold colder colo colon colonize colons coma comb come comet
    comm compete completed completer completes concert concerted concerting cone cones cong congest
    conner considerable cont contract contracted contrasts convent converged converging conversed
    conversing conversions converter converts cook coop coors cope copped copping cops copyrights cord
    cords core corm cornea corneas corned cornet cornets cornier coroner coroners corp corrects cory
    cosy cote couch coulter count counted counters cove coverall covert cower cowered cowering cozy
    crack crane cranks cranky crap crapped crapping crate craw cray crease created creates cremate crest
    crete crimp cringing crisped crispier crisps crispy cropper crops cross croup crow crown cull cunt
    cure currant currents customers cute cuttings dame dammed damming dank danker dare daren darkens
    darn darren dart darts davy dawn days dded dding dead deaf deal dean dears debar debs decease
    deceased deceasing decreases decree decrees decs deduce deduced deducing deduction deed deeds deep
    deer deflect deflected deflecting deflection deft degas dens dent dept designed designers detain
    dewar dials diaz diddle digger digs dike dill dimer dimes dimmers dine dink dint directions dirk
    discord disport disporting distortions distorts dive diving doable dogs dolt dome dona donn dons
    donut dopy dork dorm dose doth doubles doublet doubly doubted doubting dour dove dover downs
    downsizes downy drab drag drain dram drank draping drawings drawl drawling draws dray dreading
    dreads dregs drew drip droop dropped dropping drops drought drown dual dully dump dust ears edged
    edger edgy edict edicts edith editors eery eighteens eighth eights elevens emery emit emits enclose
    encloses enhancer enhances enlargements enlarger enlarges enter entered entice entirety epics etch
    even ever evert exit exits expands expend expended expending extends extent extracts extras factors
    factory fade fain faints fake faking fall falling falter fame famed farm farmed farming fart farts
    fatten fattened fattening fear feed feeds feint fell felled felling fellow fender fermat fest fetter
    fettering fetters fiddle fife fifteens fifths fight fighter file filed filing filler fillet fillings
    fills filly film filmed filming filters filth finale finals fine fink fire firm firth fitter
    fittings fiver fives flack flame flamed flaming flap flapped flapping flatted flattens flatter
    flattered flattering flight flint flipper flips flit flitted flitting flop flopped flopping flour
    flow flower flowered flowering flue flurry foam foamed foaming fold folder folly fond fonts foot
    fora foray ford fords fore fork form formal formats fort forte forth forts forum fought foul foully
    found fount fours fourteens fourths framer frames frank fray frayed fraying fright frighten
    frightened frightening frill fringing frog fromm front frown fuel fulled fulling fulls furl fusing
    gabs gadded gadding gads gage gags gall gals game gape gapes gary gasp gasps gave gays gear geed
    geld gender gent gentile gentled gentler gentles gentry getting gibing gide gift gild gill gilt
    givens gives glove glow glower glowered glowering glue goad golda golds golf gone gong gook gore
    goth gould gown grab grad grade grady gram grange gravy grays greed greek greene greens greer greet
    grey grim ground grown gull gully gust gutting gyps hack hades hake hale haled haling hall halo
    haloed haloing hals halt halted halting halves hands handy hang hanged hanging hank hanks hans hard
    hare hark harken harkened harkening harper hart harts hate haven having haying hays haze headings
    heads heady heal healing heap heaping hear heard hearing heat heating heave heaving hedge hedges
    heed heeding heeds heep heft heights held hell hellos hells herd herding hess hick hide hides highs
    hike hill hilt hind hing hint hinted hinting hither hitting hive hiving hold holder hole home hone
    honed hones hong hook hopped hopping horizontals hose hound hour hove hover hugh hull hump hundreds
    ides imaged incense inclosed increases inert info inscriptions insect inserted inserting inserts
    inset insider insides intensity intro invent invented inventing inversions inverts invest invested
    investing jack jade jake jame jars jays jeep jello jess jest jetting jigger jill jilt jilted jilting
    jive jiving joust jove jump jute juts jutting kant keel keeling keen keening keeps kegs kelp kemp
    kent kettering keven kill killed killing kilt kilter kink kith kline kneed kong kook labelled
    labelling labels lace laced laces lacing lack lade lager lain lake lame land lane lang lapel laps
    larder larges largess largo lark lars lase lass latter laying lays leach lead leading leads lear
    leas lease leaven ledge ledges leeds lees lefter lefts lefty legate legion legions legree legs leis
    lender lens lent leos lept lesa lest lester letting levee levees lever levers libel libeled libeling
    lice licit lien life lifts lighted lightens lighters lightning lights liked liken liker likes lilt
    lilted lilting lime limes lina lind lined linen liner lines linger link lint linted linting lire
    list lite litter littering litters littler live liven livid living lobe lock lode lodger loft loge
    logger lome lone loner longed longs loom loon loop loose loot lope lord lords lore lose loser loss
    lost loth louse loved lover loves lowe lowed lowers lowery luke lull lully lump lung lure lust lute
    mabel mace mach macing mack madge mads magnifier magnifies maintains maker makes makings male mall
    mane maps mare marge margie marin marion mark marker marking marlin marlins marlon maroons mars mart
    martin martins marts marvin masc mash masking masks mass mast mate mated mating maturation maude
    maxing mays maze mead meade meal meddle mediums megs mellow mender mere mess mete meted meting mich
    middles might mighty mike miking mill milled milling mimes mine mink mint minted minting mire
    mirrors mist mite model modem modes mods moire mold molder mole monger monochromes mont moore mope
    mores morn moro morse mort moss most mote moth mound move mover mower mown muck muddle mulch mule
    mull munch muse mused mush musing musk muss musts musty muter mutes mutiny mutt myst nagy name naps
    nark nary nave nays neal near needy negatived negatives nerd nerds nest netter netters netting
    nicety nifty nigger nigh nigher night nightly nighty nike nile nina nines nineteens nite node nome
    none nook norm nose noshing notation notching nothings noting nought nuder null nutting oaken oars
    oder often oily oink older oliver olives oranges order orders originals orly otto ouch oust outed
    outing outlined outlines outlive outputs oven overalls overlap overlays overly overpay overplay
    overs overt pace paced paces pacing pack pact pacts paddled paddling pain paine pains painted
    painting paints palace palaces pall pane pant pants paps parc parcs pare pares paris park parker
    parks parr pars party past pasts pate patio pats patting paying pays peace peaces peach peal pear
    pecs peed peep peeping peer pegs pent percents perfects pert pest petting phage phobos phonograph
    phonographs photography photon photons pica pick picks pict pictured piddle pies pigs pike pill
    pilled pilling pimp pine ping pinks pinky pinning pins pint pinto pips piss pith pits pitted pitting
    pius placer placers places placid plaice plaid plains plaint plait plan plane planed planes planing
    plate plated plates plating played playing plight plow plump podded podding point pointed pointing
    poll pomp pone pones pore port ports pose poss pots potting pouch pound pour power powered powering
    praise praised praising prank prawn pray preen prefect preserver preserves prim printer printings
    prints produce products profiled profiles prom prop propped propping pudding puke pulls pulp puma
    pumps punk punting puree purer purge purl purpler purples purr purse putt puttying pyre quadruplet
    quartet quartets rack radio radios radium rage raided raiding railed railing rained raining raises
    raisin raisins rake raking rand range rank rant rants raps ration ratios rave rays reach read reader
    readings ready readying reals ream reaming reams reaping reaps rear rearing rears redder redding
    reds reduces reductions reed reeds reelect reelected reelecting reelection reflections reflects
    regain regaining remain remote remover removes renders rending rends rent renter replaces replayed
    replaying requite requites resale reserve reserved reserving reset reside resided residing resp
    rests retail retaining retains retrain revel revels revere revered reveres reverie revering reversed
    reverses reverted reverting revery riches riddle ride rides rift righter rightly rightness rights
    rill rimes rimmed rimming ring ringing rink rise risible rising rite riven roads rode rome rook
    roost roosted roosting rose ross rotates rotations roth rotted rotting rotund rounds rove rover
    rower rump rust rutting ryan sack sacs sade sades safe sage sags saint saintly sake saks sale salve
    salved salver salving sames sand sane sans sapped sapping saps sarong sars sase sass satay sate
    sating saturates save saved saving sawing saws sayings scab scad scag scala scald scalded scalding
    scales scalp scalped scalping scaly scam scamp scans scant scar scare scared scaring scat scent scot
    scots scrip seal sealed sealing seam sean sear seating sedge seduce seduced seducing seduction seed
    seeds seen seep seeping seeps seize semen semis sender sent sept septa setter setters settings
    settling sevens seventeens seventh sever severn sexting shade shaded shading shads shake shakes
    shaking shale shall shame shamed shames shaming shane shank shanks shaped shapes shaping share
    shared shares sharing sharpe sharped sharpener sharpens sharpers shat shaven shaver shaves shavings
    sheave sheers shin shinning ship shirt shit shits shock shod shoe shoes shoo shoos shoot shooter
    shoots shopped shopping shops shore shorn shorted shorten shorts shout shouts shove shoved shoving
    show shows shrank shriek shrieking shrine shrinks shun shut shuts shying sian sics sided sidle
    sidles sids sift sigh sight sill silt silted silting silvers silvery simmer sine sing sink sinning
    sire sires sises sites sitting sixes sixteens sixth sized sizer sizes skin skinning skip skying
    slack slain slap slapped slapping slave slaved slaving slay slaying slays sliced slicer slices slick
    slid slide slides slighter slights slime slip slipped slipping sliver slot slots slow slower slowest
    slue sluice slur slurred slurring smalls smell smock snap snapped snapping snide snipe snit snitch
    snitched snitching snort snot snots soap soave sock sofa softener softer softy sold solder sole
    soled soli solids solis solver somewhats somme song soot sore sort sorter sots sought sound sour
    sower sown spaced spaces spacey spacy spade spades spain spake span spanning spare spate spats spay
    spaying spays spice spine spins spinx spiny spit spits splice spock sport sports spot spots spouts
    sprint sprinted sprinting spud spunk spur spurn spying squared squarer squares squire stab stabs
    stack stag stags staid stake staking stale staled staling stall stampede stamps stan stank star
    stars stat stats stave staved staving staying stays steal steam steep steeps stem stems steven stew
    stews stick stile stilt stilted stint stinted stinting stitch stitched stitching stocks stocky stole
    stolid stomp stomped stomping stone stoned stop stops stork strand stranger strap stray strays
    strengths strep stretcher stretches stretchy string stringer stripe stripling strips stript strop
    strung stuck stump stumped stumping stun stye styled styles styli suave subtler suck suction
    suctions suing sully sump sunder supper surroundings surrounds sven swab swag swam swamp swamped
    swamping swan swaps swat swatch sway swaying sways swill switcher switches swop swopped swopping
    sword swords tack tacking tail taint tainted tainting taker takes takings talc tale talk talking
    tally tame tames taming tamp tamped tamping tank tanking tanks tape taping taps tare targets tarim
    taring tars tart tarts tasking tate taxing taxis teach teak teals teams tear teas teat tedium teed
    teem teen teeth tell tender tent tented tenths tenting tents term tern tess test texts thad thai
    thais than thanh thant thar thaw thea thee thees theme theses they thigh thine things think thinks
    thins thirsty thirteens thong thorough though threes threw throe thunk thunks thus tick tics tide
    tides ties tight tighten tightened tightening tighter tightly tike tikes tile tiled tiles tiling
    till tilled tilling tilts time timed timer timers timex tina tine tines ting tinged tinging tinned
    tinning tins tints tiny tirade tires tithe titled titles titling tittle toed toke toked token toking
    told toll tome tomes toner tones tong toni tonne tons tonto tony took topmast torch tore torn toss
    tote toted touchy touché tough tour towed tower towered towering town toyed trace tram trammed
    tramming tray treading treads treas treatments tree trialed trialing trice trick trifle trifled
    trifling trig trilled trilling trimmer trimmings trims trio trip tripe triples triplet triply trippe
    tripped tripping trite trough tull tune tuned tuning turd turf turfed turfing turin turing turk
    turner turns turquoises twelves twill twin twine twitch twitched twitching tying tyke tyree udder
    unto upped uppers upsides urea vague vale valued values valve valved valving vars vary veal veep
    vender vent ventral vera verb vern versions verticals vest vetting vial vine violent violets visibly
    vouch wack wadded wadding wade waft wafts wage wait waite waiting waits wake waken waking wall walt
    wand wands wane wanes wang wank wanks ward wards wars wart warts watermarks wats watt watts wave
    wavy ways weaken weal wear wearer weave weaver wedge wedges weed weeds weep weeping weft weight
    weighty weill went wept west wetter wetting whale what while whine whit whiten whiter whites whiting
    whits wholes whopping whore whose widen wider widths wife wight wild wilde wile willa willed willing
    wills willy wilt wilted wilting wily wine wink wipe wire wise wish witch witched witching wits witt
    witting wive wong wont wood woods wordy wore work works world worlds worm worms worn woulds wound
    wove wrest wright wring wringing writ writer writes writhe writhing writings writs wrote wrought
    yack yaps year yellows yest yong yore zaps zeal zest zone zoned
    """
)
