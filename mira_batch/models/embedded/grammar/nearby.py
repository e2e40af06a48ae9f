"""English words that are one slip away from a word the grammar knows, and so are no typing mistakes.

From a public list of American English words (Debian's wamerican); a test looks for more where such a list is
installed.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.words import words

ENGLISH = words(
    """
    aback abel abound acme actor addend adder addled addling adjusts advanced advances aery affect
    affects afterward afterwords agree agrees aground ahem ahmad aide aided aides aiding aldo alice
    alight alike aline alive aloha alone alphas alpo alsop alter alto amazons among amply amway ansi
    ante antic antis ants apace apart appeals appear apple applies apter aptly archie archived archives
    arena arenas ares aria arias aright arise arising articles arts ashed aside asides asocial aspects
    aster atone atoned automatics autos aver avery awry baas babel bach backdrops backs bade bags bake
    baking bale balk ball band bank banker banned banners bans banter barb barbs bard bards bare bares
    barf barfs barge baring bark barker barks barn barns barr bart bashed bask bass bast bath bather
    bats baying bays beach beading beads beam bear bears beast beat became beck beep beeping beet began
    begins begs begun behinds being bell bellow below belt bender benin bent bering bert beset besot
    bess bests beth bets betsy better bettering betters betting bevel bevels biddle bide bides bight
    bike bill billed billing bind binging bite blacks blank blast blat bldg bless blest blew blight
    bling blip blob bloc block blogs blot blower blown blows blued bluer blues blurb blurs blurt blurted
    blurting boarder boarders boars boas boast boasted boasting bobs bode bogs bold bolder bone boned
    bong bonner book books boos booster boosts boot booted booth booting boots bops borden bore borer
    borers boring bose bosh bossy botch bottoms bought bound bower bows boys brainy braise braised
    braising bras brawn bray breading breads brest bridging brig brightens brighton brim brimmed
    brimming brine brings brink briny britten brochures brooked broth brow browne browns brows buck
    bugger bull bully bumps bumpy bums burn burned burning burp burred burring burs busing buss bust
    butting cage cake caking calf call calve calved calving camel cameo camp cams cane cant canter
    cantered cants canvass cape caps captions care cars cart carts case cashed cast catalogs catalogued
    cataloguer catalogues cather cation catting caution cautioned cautioning cave cell cello celt censer
    centers centrals cents chan chance chanced chancel chances chancing chanel chang channels chanted
    chanting chap charge charged charges charging chat cheeks cheeps cheer cheery chem chen chewers
    chick chin chip chomp chopped chopping chops chose chou chow cite clack clan clanged clanging clank
    clap cleft clients clii cline clint clio clipped clipping clips clipt clit clive clix clog clop
    clopped clopping clove clover clue code cold colo colon colons come comer compete completed
    completer completes concert concerted concerting cone cong congest conner considerable cont contract
    contracted contrasts convent converged converging conversed conversing conversions converter
    converts cook cooked cooks coop coors copped copping cord cords core cornea corneas corned cornet
    cornets cornier coroner coroners corp corrects cost couch coulter counted counters cove coven
    coverall covers covert coves covet covey cower cowered cowering coyer crack crane cranks cranky crap
    crapped crapping crate craw cray crease created creates cremate crest crete crimp cringing crisped
    crispier crisps crispy croaked crocked crookes crooned cropper crops cross croup crow crown cull
    cunt cure currant currents customers cute cuttings dafter dale dame dammed damming dane dank danker
    dare daren darkens darn darren dart darts dashed dave davy dawn days dded dding dead deader deaf
    deal dean dears debar debs decease deceased deceasing decreases decree decrees decs deduce deduced
    deducing deduction deed deeds deems deep deer deflect deflected deflecting deflection deft degas
    dell dens dent dept designed designers detain dewar dials diaz dice diddle digger digs dike dill
    dimer dimes dimmers dine dink dint directions dirk discusses disport disporting distortions distorts
    dive diving doable dodo dogs dole doll dolt dome dona donn donne dons donut dope dork dose dote doth
    doubles doublet doubly doubted doubting dour dove dover downs downy doze drab drag drain dram drank
    draping drawings drawl drawling draws dray dreading dreads dregs drew drip drone droop dropped
    dropping drops drought drown dual duel dulls dully duly dump dune dust dwell ears east easy eave
    edged edger edgy edict edicts edith editors eery eighteens eighth eights elevens emery emit emits
    enhancer enhances enlargements enlarger enlarges enter entered entice entirety epics estates etch
    even ever evert exit exits expands expend expended expending extends extent extras faced factors
    factory fade fades fain faints fake faked faking fall falling fallowed fallowing falter fame famed
    fared farmed farming fart farts fast fated father fatten fattened fattening faxed fazed fear feat
    feed feeds feint fell felled felling fellow fender fermat fest fetter fettering fetters fiat fiddle
    fife fifteens fifths fight fighter file filed filing filler fillet fillings fills filly film filmed
    filming filters filth finale finals find fine fink fire firs firsts firth fist fitter fittings fiver
    fives flab flack flag flak flame flamed flaming flan flap flapped flapping flats flatt flatted
    flattens flatter flattered flattering flaw flax flay flier flight flint flipper flips flit flitted
    flitting float flog flop flopped flopping flour flow flower flowered flowering flue flurry flyers
    foamed foaming fold folds folk folksy follower followings folly fond fonts food foot foray ford
    fords fore forks form formal formats fort forte forth forts foul foully found fount fours fourteens
    fourths foyer framer frames frank frat fray frayed fraying fright frighten frightened frightening
    frill fringing frog fromm front frown fryer fuel fulled fulling fulls furl fusing gabs gadded
    gadding gads gage gags gain gale gall galley gals game gape gapes gary gashed gasp gasps gather gave
    gays gear geed geld gender gent gentile gentled gentler gentles gentry gestate gets getting gibe
    gibing gide gift gild gill gilt givens gives glove glow glower glowered glowering glue goad golda
    golds golf gone gong goods goody goof gook gooks goon goop gore goth gould gown grab grad grady
    grain grains gram grange granny gravy grays greats greed greek greene greens greer greet greta grey
    grim ground grown gull gully gust gutting gyps hack hades hake hale haled haling hall halo haloed
    haloing hals halt halted halting halves hands handy hang hanged hanging hank hanks hans hard hare
    hark harken harkened harkening harper hart harts hashed hate havel haven haves having haying hays
    haze head headed headers headier headings heads heady heal healer healing heap heaping hear hearer
    hearing heater heating heave heaving hedge hedges heed heeding heeds heep heft heights held hell
    hellos hells helm helps hemp herder herding here hereafter hess hick hide hides highs hike hill hilt
    hind hing hint hinted hinting hither hitting hive hiving hold hole hollowed hollowing home homepages
    hone honed hong hood hook hooks horizontals hose host hound hour hove hover hugh hull hump hundreds
    ides imaged imply increases inert info inline inscriptions insect inserted inserting inserts inset
    insider insides interest intro invent invented inventing inversions inverts invest invested
    investing jack jade jaded jake jame jars jays jeep jell jello jess jest jets jetting jigger jill
    jilt jilted jilting jive jiving joust jove jump jute juts jutting kale kant keel keeling keen
    keening keeps kegs kelp kemp kent kettering keven kidd kill killed killing kilt kilter kinda kindle
    kinds king kingly kink kite kith kline kneed kong kook kooks labelled labelling labels lace laced
    lacing lack lade laded lager lain lake lame land lane lang lapel laps larder larges largess largo
    lark lars lase lash lashed lass lasting lasts lather lats latter laying lays leach leader leading
    leads lear leas lease least ledge ledges leeds lees lefter lefts lefty legion legions legree legs
    leis lender lens lent lents leos lept lesa lest lester leta letting levee levees lever levers libel
    libeled libeling lice lien life lifting lifts lighted lightens lighters lightning lights liked liken
    liker likes lilt lilted lilting lime limes limply lina lind lined linen liner lines linger link lint
    linted linting lire lisping list listings lite litter littering litters littler live liven livid
    living lobe lock locks lode lodger loft loge logger lome lone loner longed longs loom looms loon
    loons loop loops loot loots lope lord lords lore lose loser loss lost loth lots loved lover loves
    lowe lowed lowers lowery luke lull lully lump lung lure lust lusting lute mabel mace mach macing
    mack madge mads magazines maintains maker makes makings male mall mane manner maps mare marge margie
    marin marion mark marker marketplaces marking marlin marlins marlon maroons mars mart martin martins
    marts marvin mashed masking mast mate mated mather mating maturation maude maxing mays maze meade
    meal meddle medea medial median medias medic medina mediums megs mejia mellow mender mere mess mete
    meted meting mice mich middles might mighty mike miking mill milled milling mimes mince mind mine
    mink mint minted minting mire mirrors mist misting mite mkay model modem modes mods moire mold mole
    monger monochromes mont mood moore mope mores morn moro morse mort moss most mote moth mound move
    mover mower mown muck muddle mulch mule mull munch muse mused mush musing musk muss musts musty
    muter mutes mutiny mutt myst nagy name naps nark nary nave nays neal near neat needy negatived
    negatives nell nerd nerds nest nets netter netters netting newsletters newspapers newt nicer nicety
    niche nick niece nifty nigger nigh nigher night nightly nighty nike nile nina nines nineteens nite
    node noise nome nonce none nook nooks noshing nosy notation notching nothings noting nuder null
    nutting oaken oars oder oily oink okays oliver olives oranges order orders originals orly otto ouch
    ounce oust outed outing outlined outlines outlive oven overalls overexpose overexposes overlap
    overlays overly overpay overplay overs overt pace paced pacing pack pact pacts paddled paddling
    paged pager pages paige pain paine pains painted painting paints palace paled paler pales paley pall
    palm pals pane pant pants paps parc parcs pare pares paris park parker parks parr pars particle
    party past pasts pate patio pats patting pave paying pays peace peach peal peale pear pease pecs
    peed peep peeping pegs pele pent percents perfects pert pest pets petting petty phage phobos
    phonograph phonographs photography photon photons pica pick picks pict pictured piddle pies pigs
    pike pile pill pilled pilling pimp pimply pine ping pinks pinky pinning pins pint pinto pips piss
    pith pits pitted pitting pius placer places placid plaice plaid plains plaint plait plan plane
    planed planing plate plated plating played playing pleas pleased pleases plight plow plump podded
    podding poet point pointed pointing pole poll pomp ponce pone pore port portfolios ports pose posh
    posit poss possibles possibly posts posy pots potting pouch pound pour pout power powered powering
    praise praised praising prank prawn pray preen prefect presentations preserver preserves prim
    printer printings prints produce products profiled profiles prom prop propped propping psst pudding
    puke pulls pulp puma pumps punk punting puree purer purge purl purpler purples purr purse puttying
    pyle pyre quartet quartets quiet quine quire quit quito quits quote rack radio radios radium rafter
    rage raided raiding railed railing rained raining rainy raises raisin raisins rake raking rally rand
    range rank rant rants raps rasher ration ratios rave rays reach read reader readings ready readying
    realm reals realty ream reaming reams reap reaping reaps rear rearing rears redder redding reds
    reduces reductions reed reeds reel reelect reelected reelecting reelection reflections reflects
    regain regaining regal regally regard reilly remain remote remover removes renal renders rending
    rends rent renter replaces replayed replaying resale reserve reserved reserving reset reside resided
    residing resolutions resp restate rests retail retaining retains retards retrain revel revels revery
    revolution rewards rice riddle ride rides rift righter rightly rightness rights rill rimes rimmed
    rimming rind ring ringing rink rise rising rite riven roads rode rome rood rook rooked rooks roost
    roosted roosting ross rotates rotations roth rotted rotting rotund rounds rove rover rower rump rust
    rutting ryan sack sacs sade sades safe sage sags saint saintly sake saks sale salve salved salver
    salving sames sand sane sans sapped sapping saps sarong sars sase sass sate sating saturates save
    saved saving sawing saws sayings scala scald scalded scalding scales scalp scalped scalping scaly
    scamp scare scared scaring scent score scot scots scrip seal sealed sealing seam seams sear seating
    seconds sedge seduce seduced seducing seduction seed seeds seeks seem seen seep seeping seeps seers
    sees seize sell semen semis sender sent sept septa sets setter setters settings settling sevens
    seventeens seventh sever severn sexting shade shaded shading shads shake shakes shaking shale shall
    shame shamed shames shaming shane shank shanks shaped shapes shaping share shared shares sharing
    sharpe sharped sharpener sharpens sharpers shat shaven shaver shaves shavings sheave sheers shill
    shin shinning ship shirt shit shits shock shod shoe shoes shoo shoos shoot shooter shoots shops
    shore shorn shorted shorten shorts shout shouts shove shoved shoving show shows shrank shriek
    shrieking shrine shrinks shun shut shuts shying sics sided sidle sidles sids sift sigh sight sill
    silt silted silting silvers silvery simmer simple sine sing singe sink sinning sire sires sises
    sited sites sits sitting situ sixes sixteens sixth sized sizer sizes skill skin skinning skying
    slack slain slap slapped slapping slat slave slaved slaving slaying slays sliced slicer slices slick
    slid slide slides slighter slights slime slip slipped slipping sliver slog slop slot slots slow
    slower slue sluice slur slurred slurring slyer smalls smart smell smite smock snap snapped snapping
    snapshots snide snore snort snot snots soap soave socials sock sofa softy sold sole soled soli
    solids solis solver somewhats somme song soot sore sort sorter sots sound sour sourced sources sower
    sown spaced spaces spacey spacy spade spades spain spake span spanning spare spate spaying spays
    spice spill spine spins spinx spiny spit spite splice spock spore sport spot spots sprint sprinted
    sprinting spud spunk spur spurn spying squared squarer squares squire stack stake staking stale
    staled staling stall stampede stamps star stare stark starr stars starts stat state stave staved
    staving staying stays steal steam steep steeps stem stems steven stew stews stick stile stills stilt
    stilted stint stinted stinting stocks stocky stoke stole stolid stomp stomped stomping stone stoned
    stony stop stops stored stores storey storied stork storm stormy stove stowe strap strengths strep
    stretcher stretches stretchy string stripe stripling strips stript strop strung stuart stuck stump
    stumped stumping stun stye styled styles styli suave subtler suck suing suite sully sump sunder
    supper sure surroundings surrounds sven swab swag swam swamp swamped swamping swan swaps swashed
    swat sway swaying sways swell swill swop swopped swopping sword swords swore tack tacking tail taint
    tainted tainting taker takes takings talc tale talk talking tally tame tames taming tamp tamped
    tamping tank tanking tanks tanner tape taping taps tare targets tarim taring tars tart tarts tasking
    tate taxing teach teak teals teams tear teas teat tedium teed teem teems teen teeth tell tender tent
    tented tenths tenting tents term tern tess test testate texts thad thai thais than thanh thant thar
    thaw thea thee thees theme theses they thigh thine things think thinks thins thirsty thirteens thong
    thorough though threes threw throe thumbnails thunk thunks thus tick tics tide tides ties tight
    tighten tightened tightening tighter tightly tike tikes tile tiled tiles tiling till tilled tilling
    tilts time timed timer timers timex tina tine tines ting tinged tinging tinned tinning tins tints
    tiny tires tithe titled titles titling tittle todd toed togo tojo tokay toke toked token toking told
    toll tome tomes toner tones tong toni tonne tons tonto tony took torch tore tories torn tory toss
    tost tote toted toto touchy touché tough tour towed tower towered towering town toyed tram trammed
    tramming tray treading treads treas treat treatments tree trialed trialing trice trick trifle
    trifled trifling trig trilled trilling trimmer trimmings trims trio trip tripe triples triplet
    triply trippe tripped tripping trite trough tull tune tuned tuning turd turf turfed turfing turin
    turing turk turner turns turquoises twelves twill twin twine tying tyke tyree udder underexpose
    underexposes unto upped uppers upsides urea vague vale valued values valve valved valving vars vary
    vast vastly veal veep vender vent ventral vera verb vern verticals vest vets vetting vial vice vince
    vine violent violets vouch wack wadded wadding wade waded waft wafts wage wait waite waiting waits
    wake waken waking wale wall walt wand wands wane wanes wang wank wanks wanner ward wards wars wart
    warts washer washes wasted watermarks wats watt watts wave wavy ways weal wear websites wedge wedges
    weed weeds weep weeping weft weight weighty weill weld wells welt went wept west wets wetter wetting
    whale what whelp when where while whine whit whiten whiter whites whiting whits wholes whore whose
    widen wider widths wife wight wild wilde wile willa willed willing wills willy wilt wilted wilting
    wily wince wind wine wink wipe wire wise wish wished witch wits witt witting wive wong wont wood
    woods wordy wore work works world worlds worm worms worn woulds wound wove wrest wright wring
    wringing writ writer writes writhe writhing writings writs wrote wrought yack yale yaps year yell
    yellows yelp yest yolks yong yore yours yous zaps zeal zest zone zoned
    """
)
